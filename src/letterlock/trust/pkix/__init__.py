"""Certification paths and revocation (RFC 5280, 6960, 8550)."""
