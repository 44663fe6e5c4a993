"""Certificates, revocation lists, OCSP and certification requests as values (RFC 5280, 6960, 2986)."""
