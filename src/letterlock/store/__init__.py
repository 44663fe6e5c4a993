"""The message store (MS of RFC 5598): an append-only log of octets, an index, and one committer."""
