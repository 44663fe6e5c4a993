"""DNS-based Authentication of Named Entities (RFC 6698, 7671, 7672, 8162, 7929)."""
