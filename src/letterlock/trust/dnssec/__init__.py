"""DNSSEC validation and signing as decisions over answers (RFC 4033-4035, 5155)."""
