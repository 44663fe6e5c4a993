"""MIME (RFC 2045-2049, 2183, 2231): entities, parameters, transfer encodings, canonical form."""
