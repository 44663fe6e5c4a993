"""A whole signed Internet in miniature on loopback."""
