"""ASN.1 BER and DER with offsets kept into the original octets."""
