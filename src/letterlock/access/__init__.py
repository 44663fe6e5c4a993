"""IMAP and POP3 service over the store."""
