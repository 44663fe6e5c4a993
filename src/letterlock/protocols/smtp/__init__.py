"""SMTP (RFC 5321) and its extensions, server and client side."""
