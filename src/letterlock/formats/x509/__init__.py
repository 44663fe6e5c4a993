"""Certificates, revocation lists and OCSP as values (RFC 5280, 6960)."""
