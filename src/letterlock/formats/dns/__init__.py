"""DNS questions, answers and resource records as values (RFC 1035)."""
