"""S/MIME (RFC 8551): sign, verify, encrypt, decrypt, compress, and what a signature proves."""
