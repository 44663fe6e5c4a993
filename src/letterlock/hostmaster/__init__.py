"""What a domain says in the DNS: records, zone signing, key roll-over, publishing, the name server."""
