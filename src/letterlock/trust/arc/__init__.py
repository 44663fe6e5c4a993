"""Authenticated Received Chain (RFC 8617)."""
