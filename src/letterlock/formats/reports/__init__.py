"""Reports about mail: delivery status, disposition, abuse, DMARC and TLS reports."""
