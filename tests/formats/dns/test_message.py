"""DNS messages: round trips, dnspython as the oracle, and octets that are no messages."""

import dns.exception
import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata, rdata_text, rdata_wire, types, zone_text
from letterlock.formats.dns.message import Edns, Message, Record

LINES = [
    "a.test. 300 IN A 192.0.2.1",
    "a.test. 300 IN AAAA 2001:db8::1",
    "b.test. 300 IN CNAME a.test.",
    "c.test. 300 IN DNAME d.test.",
    "test. 300 IN MX 10 mail.test.",
    "test. 300 IN NS ns.test.",
    "1.2.0.192.in-addr.arpa. 300 IN PTR a.test.",
    "test. 300 IN SOA ns.test. hostmaster.test. 1 2 3 4 5",
    "_imaps._tcp.test. 300 IN SRV 0 1 993 mail.test.",
    'test. 300 IN TXT "one" "two; three" "\\195\\169"',
    'a.test. 300 IN HINFO "PDP-11" "UNIX"',
    "list.test. 300 IN MINFO owner.test. errors.test.",
    "a.test. 300 IN WKS 192.0.2.1 6 25 110",
    f"_25._tcp.a.test. 300 IN TLSA 3 1 1 {'ab' * 32}",
    f"abc._smimecert.test. 300 IN SMIMEA 3 0 0 {'cd' * 40}",
    "abc._openpgpkey.test. 300 IN OPENPGPKEY mQCNAzIG",
    'test. 300 IN CAA 0 issue "lab.test"',
    "test. 300 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
    f"child.test. 300 IN DS 1 13 2 {'ef' * 32}",
    "a.test. 300 IN RRSIG A 13 2 300 20261201000000 20261101000000 1 test. AAECAwQ=",
    "a.test. 300 IN NSEC b.test. A AAAA RRSIG NSEC CAA TYPE1234",
    "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.test. 300 IN NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX RRSIG",
    "test. 300 IN NSEC3PARAM 1 0 12 aabbccdd",
    "odd.test. 300 IN TYPE4711 \\# 3 010203",
]


@pytest.mark.parametrize("line", LINES)
def test_every_type_survives_text_wire_and_value(line: str) -> None:
    """Text to octets to value and back; dnspython reads what we write."""
    (record,) = zone_text.read(line)
    mnemonic = types.mnemonic(record.type)
    value = rdata_wire.read(mnemonic, record.rdata)
    assert rdata_wire.write(value) == record.rdata
    assert rdata_text.read(mnemonic, rdata_text.write(value)) == value
    assert zone_text.read(zone_text.line(record)) == [record]
    octets = messages.write(Message(7, messages.QR, answer=(record,)))
    assert messages.read(octets).answer == (record,)
    (found,) = dns.message.from_wire(octets).answer
    assert found.ttl == 300
    assert rdata_text.canonical(found[0]) == record.rdata


def test_names_are_compressed_and_read_back() -> None:
    """dnspython's own compressed message means the same to us."""
    records = tuple(record for line in LINES for record in zone_text.read(line))
    written = Message(
        1, messages.QR | messages.AA, question=((names.to_wire("a.test"), 1, 1),), answer=records, edns=Edns()
    )
    theirs = dns.message.from_wire(messages.write(written))
    assert messages.read(theirs.to_wire()) == written
    assert len(messages.write(written)) < sum(len(record.owner) + 10 + len(record.rdata) for record in records)


@given(st.binary(max_size=300))
def test_octets_that_are_no_message_raise_only_malformed(octets: bytes) -> None:
    try:
        read = messages.read(octets)
    except Malformed:
        return
    assert messages.read(messages.write(read)).answer == read.answer


_WHOLE = messages.write(
    Message(1, messages.QR, answer=tuple(record for line in LINES for record in zone_text.read(line)), edns=Edns())
)


@given(st.integers(12, len(_WHOLE) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_message_raises_only_malformed(place: int, change: bytes) -> None:
    damaged = _WHOLE[:place] + change + _WHOLE[place + len(change) :]
    for octets in (damaged, _WHOLE[:place]):
        try:
            read = messages.read(octets)
            for record in read.answer:
                rdata_wire.read(types.mnemonic(record.type), record.rdata)
        except Malformed:
            continue


@given(st.sampled_from(list(types.NUMBERS)), st.binary(max_size=80))
def test_record_data_that_are_none_raise_only_malformed(mnemonic: str, octets: bytes) -> None:
    try:
        value = rdata_wire.read(mnemonic, octets)
    except Malformed:
        return
    if "n" not in rdata_wire.type_of(value):
        assert rdata_wire.read(mnemonic, rdata_wire.write(value)) == value


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=4))
def test_names_survive_text(labels: list[bytes]) -> None:
    """Any octets may stand in a label; escapes bring them through text."""
    wire = names.from_labels(labels)
    assert names.to_wire(names.to_text(wire)) == wire


@pytest.mark.parametrize(
    "octets",
    [b"\xc0\x00", b"\x01a\xc0\x00", b"\xc0\x05", b"\x41a\x00", b"\x05ab", b"\x3f" + b"a" * 63 + b"\xc0\x00"],
)
def test_names_that_loop_or_run_over_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        names.read(octets, 0)


def test_what_does_not_fit_loses_whole_sets() -> None:
    """RFC 2181 section 9: no part of a set stands in a truncated answer."""
    sets = tuple(Record(names.to_wire(f"{owner}.test"), 1, 1, 1, bytes(4)) for owner in "abc" for _ in range(3))
    octets = messages.write(Message(1, messages.QR, answer=sets), 100)
    read = messages.read(octets)
    assert (len(octets) <= 100, read.is_truncated, len(read.answer) % 3) == (True, True, 0)
    assert read.answer


def test_pseudo_types_in_a_bit_map_are_passed_over() -> None:
    """RFC 4034 section 4.1.2: their bits must be clear, and are ignored where they are not."""
    data = b"\x01x\x04test\x00" + bytes((0, 32, 0xC0, *(0 for _ in range(30)), 0x01))  # types 0, 1 and 255
    value = rdata_wire.read("NSEC", data)
    assert isinstance(value, rdata.Nsec)
    assert value.types == ("A",)
    assert rdata_text.read("NSEC", rdata_text.write(value)) == value
