"""The certification authority for a domain's own people, and certificate and key stores."""
