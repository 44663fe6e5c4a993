"""Conversations: sans-IO state machines, octets in, events out, octets back."""
