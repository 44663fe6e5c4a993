"""ASN.1 BER and DER with offsets kept into the original octets.

`reader.parse` gives an `Element` whose fields are read where they lie; `reader.Fields` walks a SEQUENCE; `writer` makes
DER, one function a type; `stream` reads and writes BER whose content does not fit into memory.
"""
