"""Zones made to cost a validator dearly: each costs under 50 ms of CPU and ends in a verdict with its reason."""

import random
import struct
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.zone import DNSKEY, NSEC3, RRSIG, Zone
from letterlock.hostmaster.tree import anchors_of
from letterlock.protocols.dns import client
from letterlock.protocols.dns.look_up import look_up
from letterlock.trust.dnssec.chain import Memory
from letterlock.trust.dnssec.fetch import Fetch
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone
from letterlock.trust.dnssec.signatures import key_tag
from letterlock.trust.dnssec.validate import validate

NOW = 1_800_000_000
APEX = names.to_wire("trap.test")
Change = Callable[[Message], Message]


def _zone(key: SigningKey, denial: Denial | None = None, extra: str = "") -> Zone:
    text = f"@ IN SOA ns hostmaster 1 1 1 1 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 127.0.0.1\n{extra}"
    return sign_zone(Zone.parse(text, "trap.test"), [key], NOW - 60, NOW + 86400, denial)


def _validate(zone: Zone, question: Question, change: Change) -> tuple[Answer, float]:
    """Validate three times; return the answer and the least of the CPU seconds (other work disturbs the clock)."""
    runs = [_validate_once(zone, question, change) for _ in range(3)]
    return runs[0][0], min(seconds for _, seconds in runs)


def _validate_once(zone: Zone, question: Question, change: Change) -> tuple[Answer, float]:
    """Answer every fetch from the zone by way of octets, changed as an attacker would."""
    spent = 0.0
    validation = validate(question, Memory(anchors_of(zone)), NOW)
    fetch: Fetch = next(validation)
    while True:
        query = client.query(1, fetch.owner, fetch.type)
        octets = messages.write(change(look_up(zone, query)))
        started = time.process_time()
        try:
            fetch = validation.send(messages.read(octets))
        except StopIteration as stop:
            return stop.value, spent + time.process_time() - started
        spent += time.process_time() - started


def _same_tag(rdata: bytes, number: int) -> bytes:
    """Return another key with the same tag: an RSA modulus is any odd number, and the tag is a sum of its words."""
    made = bytearray(rdata)
    made[20:100] = random.Random(number).randbytes(80)
    made[20:22] = b"\0\0"
    difference = key_tag(rdata) - key_tag(bytes(made))
    for carry in range(-2, 3):
        made[20:22] = struct.pack(">H", (difference + carry) % 0xFFFF)
        if key_tag(bytes(made)) == key_tag(rdata):
            return bytes(made)
    raise AssertionError("no such key")


def _false_signatures(rdata: bytes, count: int) -> list[bytes]:
    start = len(rdata) - 64
    return [rdata[:start] + random.Random(number).randbytes(64) for number in range(count)]


def _trap(number: int) -> Change:
    """Many keys of one tag, and many signatures that none of them made, before the good ones."""

    def change(response: Message) -> Message:
        records: list[Record] = []
        for record in response.answer:
            if record.type == RRSIG:
                records += [replace_rdata(record, rdata) for rdata in _false_signatures(record.rdata, number)]
            elif record.type == DNSKEY:
                records += [replace_rdata(record, _same_tag(record.rdata, seed)) for seed in range(number // 2)]
            records.append(record)
        return replace(response, answer=tuple(records))

    return change


def replace_rdata(record: Record, rdata: bytes) -> Record:
    return Record(record.owner, record.type, record.rdclass, record.ttl, rdata)


def _signatures(number: int) -> Change:
    """As many false signatures in the place of each good one, but for the keys'."""

    def flood(records: tuple[Record, ...]) -> tuple[Record, ...]:
        changed: list[Record] = []
        for record in records:
            if record.type == RRSIG and record.rdata[:2] != DNSKEY.to_bytes(2, "big"):
                changed += [replace_rdata(record, rdata) for rdata in _false_signatures(record.rdata, number)]
            else:
                changed.append(record)
        return tuple(changed)

    return lambda response: replace(response, answer=flood(response.answer), authority=flood(response.authority))


def test_many_keys_of_one_tag_are_cheap() -> None:
    """CVE-2023-50387: 50 keys with one tag and 100 signatures by them, at the price of a few."""
    answer, seconds = _validate(_zone(SigningKey.generate(8)), Question("www.trap.test", "A"), _trap(100))
    assert (answer.outcome, answer.security, bool(answer.reason)) == (Outcome.FAILED, Security.BOGUS, True)
    assert seconds < 0.05


@pytest.mark.parametrize("algorithm", [8, 13, 14, 15, 16])
@pytest.mark.parametrize("name", ["www", "none"])
def test_many_false_signatures_are_cheap(algorithm: int, name: str) -> None:
    """A hundred on every set, in whatever algorithm costs most."""
    zone = _zone(SigningKey.generate(algorithm), Denial(Hashing()))
    answer, seconds = _validate(zone, Question(f"{name}.trap.test", "A"), _signatures(100))
    assert (answer.outcome, answer.security, bool(answer.reason)) == (Outcome.FAILED, Security.BOGUS, True)
    assert seconds < 0.05


@pytest.mark.parametrize("iterations", [50, 51, 2500, 65535])
def test_an_nsec3_bomb_is_cheap(iterations: int) -> None:
    """CVE-2023-50868: a name of 120 labels, each to be hashed many times over, in a zone that denies it."""
    key = SigningKey.generate()
    zone = _zone(key, Denial(Hashing(min(iterations, 51), b"salt" * 60)))
    deep = ".".join(["a"] * 115) + ".trap.test"

    def claim(response: Message) -> Message:
        def more(record: Record) -> Record:
            if record.type != NSEC3 or iterations <= 51:
                return record
            return replace_rdata(record, record.rdata[:2] + iterations.to_bytes(2, "big") + record.rdata[4:])

        return replace(response, authority=tuple(more(record) for record in response.authority))

    answer, seconds = _validate(zone, Question(deep, "A"), claim)
    assert answer.outcome in (Outcome.NO_NAME, Outcome.FAILED)
    assert (answer.security is Security.SECURE) == (iterations <= 50)
    assert seconds < 0.05


def test_a_thousand_records_are_an_answer() -> None:
    """A set of 1,000 addresses validates in bounded time."""
    extra = "".join(f"many IN A 10.0.{number // 250}.{number % 250}\n" for number in range(1000))
    answer, seconds = _validate(_zone(SigningKey.generate(), extra=extra), Question("many.trap.test", "A"), lambda r: r)
    assert (len(answer.records), answer.security) == (1000, Security.SECURE)
    assert seconds < 0.1


def test_pointers_to_pointers_are_cheap() -> None:
    """A message whose names are chains of thousands of pointers is refused before it costs anything."""
    chain = b"".join((0xC000 | (12 + 11 + 2 * index - 2)).to_bytes(2, "big") for index in range(1, 8000))
    head = struct.pack(">HHHHHH", 1, 0x8400, 0, 2000, 0, 0)
    first = b"\x00" + struct.pack(">HHIH", 4711, 1, 1, len(chain) + 1) + b"\x00" + chain
    owner = (0xC000 | (12 + 11 + 2 * 7000)).to_bytes(2, "big")
    octets = head + first + (owner + struct.pack(">HHIH", 4711, 1, 1, 0)) * 1999
    started = time.process_time()
    with pytest.raises(Exception, match="pointer"):
        messages.read(octets)
    assert time.process_time() - started < 0.05


def test_the_cname_chain_that_never_ends_ends() -> None:
    """Aliases that lead on for ever, each well signed, end in a verdict after 16."""
    extra = "".join(f"c{number} IN CNAME c{number + 1}\n" for number in range(60))
    answer, seconds = _validate(_zone(SigningKey.generate(), extra=extra), Question("c0.trap.test", "A"), lambda r: r)
    assert (answer.outcome, "aliases" in answer.reason) == (Outcome.FAILED, True)
    assert seconds < 0.05


def test_record_types_of_mail_are_known() -> None:
    """Every type the standard of mail names has a class of its own."""
    wanted = "A AAAA CNAME HINFO MINFO MX NS PTR SOA SRV TXT WKS DNSKEY RRSIG NSEC NSEC3 DS TLSA SMIMEA OPENPGPKEY CAA"
    for mnemonic in wanted.split():
        assert types.number(mnemonic) in types.MNEMONICS
        assert mnemonic in rdata_wire._FIELDS
