"""Letterlock: a complete, trustworthy Internet mail system, laid out as RFC 5598 draws it."""

__version__ = "0.1.0"
