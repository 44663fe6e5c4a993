"""The name server's conversation: odd queries, transfers, transaction signatures."""

import dns.message
import dns.query
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns.message import Edns, Message, Record
from letterlock.formats.dns.types import Rcode
from letterlock.formats.dns.zone import SOA, Zone
from letterlock.protocols.dns import tsig
from letterlock.protocols.dns.server import Access, Catalog, respond
from letterlock.protocols.dns.transfer import AXFR, IXFR
from letterlock.protocols.dns.tsig import TsigFault, TsigKey

NOW = 1_800_000_000
SECRET = "c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycyBoZXJl"
KEY = TsigKey.parse(f"hmac-sha512:transfer.test:{SECRET}")
APEX = names.to_wire("rosewood.test")


def _zone(serial: int, hosts: int) -> Zone:
    text = f"@ IN SOA ns hostmaster {serial} 1 1 1 60\n@ IN NS ns\nns IN A 127.0.0.1\n"
    return Zone.parse(text + "".join(f"h{number} IN A 127.0.1.1\n" for number in range(hosts)), "rosewood.test")


def _catalog() -> Catalog:
    catalog = Catalog([_zone(1, 3)], Access({KEY.name: KEY}, frozenset({"127.0.0.9"})))
    catalog.put(_zone(2, 2000))
    return catalog


CATALOG = _catalog()


def _ask(query: Message, *, tcp: bool = False, address: str = "") -> list[Message]:
    answered = respond(CATALOG, messages.write(query), tcp=tcp, address=address, now=NOW)
    return [messages.read(octets) for octets in answered]


@given(st.binary(max_size=120), st.booleans())
def test_garbage_is_answered_or_dropped(octets: bytes, tcp: bool) -> None:
    """Nothing raises, and no answer to an answer is ever sent."""
    for answered in respond(CATALOG, octets, tcp=tcp, address="127.0.0.9", now=NOW):
        assert octets[2] & 0x80 == 0
        assert answered[:2] == octets[:2]


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (Message(1, opcode=5, question=((APEX, SOA, 1),)), Rcode.NOTIMP),
        (Message(1, question=((APEX, 1, 1), (APEX, 1, 1))), Rcode.FORMERR),
        (Message(1, question=((names.to_wire("other.test"), 1, 1),)), Rcode.REFUSED),
        (Message(1, question=((APEX, 1, 3),)), Rcode.REFUSED),
        (Message(1, question=((APEX, 250, 1),)), Rcode.NOTIMP),
        (Message(1, question=((APEX, 1, 1),), edns=Edns(version=1)), Rcode.BADVERS),
        (Message(1, question=((APEX, AXFR, 1),)), Rcode.REFUSED),
        (messages.query(1, names.to_wire("h1.rosewood.test"), 1), Rcode.NOERROR),
        (messages.query(1, names.to_wire("no.rosewood.test"), 1), Rcode.NXDOMAIN),
    ],
)
def test_each_query_has_its_code(query: Message, rcode: Rcode) -> None:
    (response,) = _ask(query)
    assert response.rcode == rcode


def test_the_whole_zone_comes_in_several_messages() -> None:
    """RFC 5936 section 2.2: it begins and ends with the SOA record."""
    parts = _ask(Message(1, question=((APEX, AXFR, 1),)), tcp=True, address="127.0.0.9")
    records = [record for part in parts for record in part.answer]
    assert len(parts) > 1
    assert [records[0].type, records[-1].type, len(records)] == [SOA, SOA, 2000 + 4]


def test_a_change_comes_as_a_change() -> None:
    """RFC 1995 section 4: new SOA, old SOA and what went, new SOA and what came, new SOA."""
    shown = Record(APEX, SOA, 1, 60, _zone(1, 3).soa.rdatas[0])
    query = Message(1, question=((APEX, IXFR, 1),), authority=(shown,))
    records = [record for part in _ask(query, tcp=True, address="127.0.0.9") for record in part.answer]
    assert [place for place, record in enumerate(records) if record.type == SOA] == [0, 1, 2, len(records) - 1]
    assert len(records) == 4 + 1997
    (only,) = _ask(query, address="127.0.0.9")
    assert [record.type for record in only.answer] == [SOA]


def test_dnspython_verifies_a_signed_transfer() -> None:
    """Every message of it, chained by RFC 8945 section 5.3.1; and ours verifies dnspython's query."""
    ring = dns.tsigkeyring.from_text({"transfer.test.": ("hmac-sha512", SECRET)})
    zone = dns.zone.Zone("rosewood.test")
    query, serial = dns.xfr.make_query(zone, keyring=ring)
    wire = query.to_wire()
    now = query.tsig[0].time_signed if query.tsig else NOW
    context = None
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR, serial) as inbound:
        for octets in respond(CATALOG, wire, tcp=True, now=now):
            response = dns.message.from_wire(
                octets,
                keyring=query.keyring,
                request_mac=query.mac,
                xfr=True,
                origin=zone.origin,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=True,
            )
            context = response.tsig_ctx
            assert response.had_tsig
            done = inbound.process_message(response)
    assert done
    assert len(zone.nodes) == 2002


@pytest.mark.parametrize(
    ("key", "now", "error"),
    [
        (TsigKey(KEY.name, b"other", KEY.algorithm), NOW, 16),
        (TsigKey(names.to_wire("nobody.test"), KEY.secret, KEY.algorithm), NOW, Rcode.BADKEY),
        (KEY, NOW - 1000, Rcode.BADTIME),
    ],
)
def test_a_signature_that_is_not_good_is_refused(key: TsigKey, now: int, error: int) -> None:
    """RFC 8945 section 5.2: NOTAUTH, with the reason in an unsigned TSIG record."""
    octets, _ = tsig.sign(messages.write(Message(1, question=((APEX, AXFR, 1),))), key, now)
    (answered,) = respond(CATALOG, octets, tcp=True, address="127.0.0.9", now=NOW)
    response = messages.read(answered)
    assert response.rcode == Rcode.NOTAUTH
    (record,) = response.additional
    _, after = names.read(record.rdata, 0)
    assert int.from_bytes(record.rdata[after + 12 : after + 14], "big") == error


def test_a_changed_message_does_not_verify() -> None:
    octets, _ = tsig.sign(messages.write(Message(1, question=((APEX, AXFR, 1),))), KEY, NOW)
    changed = octets[:2] + b"\x01" + octets[3:]
    with pytest.raises(TsigFault):
        tsig.verify(changed, messages.read(changed), {KEY.name: KEY}, NOW)
