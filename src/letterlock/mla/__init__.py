"""The S/MIME mail list agent (RFC 2634)."""
