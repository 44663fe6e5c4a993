"""The name server's conversation: a query's octets in, a response's octets out."""
