"""Decisions: generators that ask questions of the DNS and return verdicts with their evidence."""
