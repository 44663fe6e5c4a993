"""The asking side of DNS: which query to send, whether a response answers it, and what an unvalidated answer says.

Standards: RFC 1035 sections 4 and 7.3, RFC 2308 (absence), RFC 5452 section 9.1 (what a response must match),
RFC 6891 section 6.2.5 (payload), RFC 7766 (TCP), RFC 9715 (1232 octets keep clear of fragments).
Limits: 16 aliases in a chain.
"""

from __future__ import annotations

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.message import Edns, Message, Record
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.types import Rcode

CNAME = types.NUMBERS["CNAME"]
SOA = types.NUMBERS["SOA"]
MAX_ALIASES = 16


def query(id: int, owner: bytes, number: int, *, flags: int = messages.RD, dnssec_ok: bool = True) -> Message:
    """Return a query with EDNS that announces 1232 octets."""
    return messages.query(id, owner, number, flags=flags, edns=Edns(1232, dnssec_ok))


def is_answer_to(query: Message, response: Message) -> bool:
    """Tell whether a response carries the query's id, opcode and question (RFC 5452 section 9.1)."""
    return (
        response.is_response
        and response.id == query.id
        and response.opcode == query.opcode
        and (response.question == query.question or (not response.question and response.rcode != 0))
    )


def frame(octets: bytes) -> bytes:
    """Return a message as TCP carries it, its length before it (RFC 1035 section 4.2.2)."""
    return len(octets).to_bytes(2, "big") + octets


class Frames:
    """Cuts what arrives over TCP into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, octets: bytes) -> list[bytes]:
        """Take octets; return the messages that are now whole."""
        self._buffer += octets
        whole = []
        start = 0
        while len(self._buffer) - start >= 2:
            end = start + 2 + int.from_bytes(self._buffer[start : start + 2], "big")
            if end > len(self._buffer):
                break
            whole.append(bytes(self._buffer[start + 2 : end]))
            start = end
        del self._buffer[:start]
        return whole


def negative_ttl(response: Message) -> int:
    """Return for how many seconds absence may be remembered; 0 without a SOA record (RFC 2308 section 5)."""
    for record in response.authority:
        if record.type == SOA and len(record.rdata) >= 20:
            return min(record.ttl, int.from_bytes(record.rdata[-4:], "big"), 86400)
    return 0


def follow(
    answer: tuple[Record, ...], owner: bytes, number: int
) -> tuple[bytes, tuple[Record, ...], tuple[Record, ...]]:
    """Follow the aliases of an answer section from `owner`.

    Returns the name at the end of the chain, its records of the type, and the CNAME records passed; raises Malformed
    for a chain that loops or never ends.
    """
    passed: list[Record] = []
    while True:
        found = tuple(record for record in answer if record.owner == owner and record.type == number)
        if found:
            return owner, found, tuple(passed)
        alias = next((record for record in answer if record.owner == owner and record.type == CNAME), None)
        if alias is None:
            return owner, (), tuple(passed)
        passed.append(alias)
        if len(passed) > MAX_ALIASES:
            raise Malformed("a chain of more than 16 aliases", clause="RFC 1034 section 3.6.2")
        owner = alias.rdata


def read_answer(question: Question, response: Message, security: Security) -> Answer:
    """Return what a recursive resolver's response says, on its word alone; FAILED for what cannot be read."""
    reason = f"{question.name} {question.type}: "
    if response.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        reason += f"the resolver answered {types.rcode_text(response.rcode)}"
        return failed(question, reason, response.extended_error)
    try:
        owner, found, passed = follow(response.answer, names.to_wire(question.name), types.number(question.type))
        records = tuple(rdata_wire.read(question.type, record.rdata) for record in found)
    except Malformed as error:
        return failed(question, f"{reason}{error}", types.ExtendedError.INVALID_DATA)
    canonical = names.to_text(owner)
    if found:
        ttl = min(record.ttl for record in found + passed)
        return Answer(question, Outcome.FOUND, records, security, canonical, ttl)
    ttl = min([negative_ttl(response), *(record.ttl for record in passed)])
    if response.rcode == Rcode.NXDOMAIN:
        return Answer(question, Outcome.NO_NAME, (), security, canonical, ttl, f"{canonical} does not exist")
    return Answer(question, Outcome.NO_DATA, (), security, canonical, ttl, f"{canonical} has no {question.type} record")


def failed(
    question: Question, reason: str, code: int | None = None, security: Security = Security.INDETERMINATE
) -> Answer:
    """Return an answer that says why nothing is known."""
    return Answer(question, Outcome.FAILED, (), security, reason=reason, extended_error=code)
