"""Everything impure: sockets, TLS, files, databases, clocks, randomness, privileges."""
