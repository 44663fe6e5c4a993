"""The Cryptographic Message Syntax as values, one file a content type (RFC 5652)."""
