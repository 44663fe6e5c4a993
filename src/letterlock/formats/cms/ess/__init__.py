"""Attributes of the Enhanced Security Services (RFC 2634, RFC 5035) and of multiple signatures (RFC 5752)."""
