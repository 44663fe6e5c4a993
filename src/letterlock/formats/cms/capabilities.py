"""SMIMECapabilities: what a correspondent says it can read, in its order of preference.

Standards: RFC 8551 section 2.5.2.
Limits: 128 capabilities are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields


@dataclass(frozen=True, slots=True)
class Capability:
    """One algorithm with its parameters as one encoded element, or None."""

    oid: str
    parameters: bytes | None = None

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(writer.oid(self.oid), self.parameters or b"")


def parse(element: Element) -> tuple[Capability, ...]:
    """Read an SMIMECapabilities value; raises Malformed."""
    found: list[Capability] = []
    for child in element.expect(tags.SEQUENCE).children():
        if len(found) >= 128:
            break
        fields = Fields(child)
        oid = fields.oid()
        found.append(Capability(oid, fields.any().encoded if fields.more else None))
    return tuple(found)


def encode(capabilities: tuple[Capability, ...]) -> bytes:
    """Return the DER."""
    return writer.sequence(*(capability.encode() for capability in capabilities))
