"""DNS messages, record data and zone text: every octet is read or refused, and what is read can be written again."""

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_text, rdata_wire, types, zone_text
from letterlock.formats.dns.message import Edns, Message
from letterlock.formats.dns.zone import Zone

_ZONE = b"""@ 300 IN SOA ns h 1 2 3 4 5
@ IN NS ns
ns IN A 192.0.2.1
@ IN MX 10 ns
_25._tcp.ns IN TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
*.w IN TXT "a\\"b" "\\195"
ns IN NSEC @ A TXT TYPE1234
l IN MINFO a b
h IN HINFO "x" "y"
"""
SEEDS = (
    messages.write(
        Message(
            7, 0x8580, answer=tuple(zone_text.read(_ZONE.decode(), "x.test")), edns=Edns(options=((15, b"\0\6no"),))
        )
    ),
    messages.write(messages.query(1, names.to_wire("a.b.x.test"), 52, edns=Edns(dnssec_ok=True))),
    _ZONE,
)


def fuzz(octets: bytes) -> None:
    """Take the octets as a message and as the text of a zone."""
    _as_message(octets)
    try:
        zone = Zone.parse(octets.decode("latin-1"), "x.test")
    except Malformed:
        return
    assert Zone.parse(zone.text(), "x.test") == zone


def _as_message(octets: bytes) -> None:
    try:
        read = messages.read(octets)
    except Malformed:
        return
    rewritten = messages.read(messages.write(read))
    assert (rewritten.answer, rewritten.authority, rewritten.edns) == (read.answer, read.authority, read.edns)
    for record in read.answer:
        assert names.to_wire(names.to_text(record.owner)) == record.owner
        mnemonic = types.mnemonic(record.type)
        try:
            value = rdata_wire.read(mnemonic, record.rdata)
            text = rdata_text.write(value)
        except Malformed:
            continue
        again = rdata_text.read(mnemonic, text)
        assert rdata_text.write(again) == text
        # The text of WKS names ports, and says nothing of the zeros that may end its bit map.
        assert mnemonic == "WKS" or rdata_wire.write(again) == rdata_wire.write(value), text
