"""PEM: DER in base64 between lines that name what it is.

Standards: RFC 7468 section 2.
"""

from __future__ import annotations

import base64
import binascii
import re

from letterlock.errors import Malformed

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*(.*?)-----END \1-----", re.DOTALL)
CERTIFICATE = (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE")


def decode(octets: bytes, *labels: bytes) -> list[bytes]:
    """Return the DER of all PEM blocks with one of `labels`; the octets themselves if there is no PEM at all."""
    if b"-----BEGIN " not in octets:
        return [octets]
    try:
        found = [base64.b64decode(body) for label, body in _BLOCK.findall(octets) if label in labels]
    except binascii.Error as error:
        raise Malformed(f"a PEM block that is not base64: {error}", clause="RFC 7468 section 2") from None
    if not found:
        raise Malformed(f"no {labels[0].decode()} among the PEM blocks", clause="RFC 7468 section 2")
    return found


def encode(label: str, der: bytes) -> bytes:
    """Return DER as a PEM block."""
    body = base64.b64encode(der).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
