"""BER and DER: every value read in every way, canonical form, and the same in pieces."""

from letterlock.errors import Malformed
from letterlock.formats.asn1 import reader, stream, tags, writer
from letterlock.formats.asn1.reader import Element

SEEDS = (
    bytes.fromhex("3080020105248004026162040163000000000606"),
    bytes.fromhex("30130603551d0f0101ff0409030205a017173236"),
    bytes.fromhex("310c0c0161130162170d3236313132333132303030305a"),
)
_READERS = (Element.boolean, Element.integer, Element.oid, Element.octet_string, Element.bit_string, Element.text,
            Element.time, Element.null, Element.named_bits)  # fmt: skip


def fuzz(octets: bytes) -> None:
    """Only Malformed may come out; what is canonical stays canonical."""
    try:
        root = reader.parse(octets, trailing=True)
        canonical = writer.canonical(root)
        assert writer.canonical(reader.parse(canonical)) == canonical
    except Malformed:
        pass
    else:
        _values(root)
    source = stream.Source(octets[at : at + 5] for at in range(0, len(octets), 5))
    try:
        source.enter(tags.SEQUENCE)
        while source.more():
            if source.peek_tag() == tags.OCTET_STRING:
                b"".join(source.string(tags.OCTET_STRING))
            else:
                source.element()
        source.leave()
    except Malformed:
        pass


def _values(element: Element) -> None:
    for read in _READERS:
        try:
            read(element)
        except Malformed:
            continue
    if element.constructed:
        try:
            for child in element.children():
                _values(child)
        except Malformed:
            return
