"""The mail submission agent (RFC 6409): authenticated authors, prepared messages."""
