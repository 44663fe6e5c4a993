"""What a domain says and hears about mail: DMARC, TLS and failure reports, bounces."""
