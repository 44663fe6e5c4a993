"""Measurements beside peers: `python -m bench [NAME ...]`, one module a subject."""
