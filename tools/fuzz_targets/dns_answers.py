"""The name server asked with any octets, and the validator answered with them: an answer or a verdict, never an error."""

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns.message import Edns
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.zone import Zone
from letterlock.hostmaster.tree import anchors_of
from letterlock.protocols.dns.server import Access, Catalog, respond
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.trust.dnssec.chain import Memory
from letterlock.trust.dnssec.fetch import NoResponse
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone
from letterlock.trust.dnssec.validate import validate

_NOW = 1_800_000_000
_TEXT = (
    "@ IN SOA ns h 1 1 1 1 60\n@ IN NS ns\nns IN A 127.0.0.1\n*.w IN TXT x\nc IN NS ns\nd IN DNAME e\na IN CNAME ns\n"
)
_KEY = TsigKey(names.to_wire("k.test"), b"secret")
_ZONES = [
    sign_zone(Zone.parse(_TEXT, origin), [SigningKey.generate()], _NOW - 60, _NOW + 86400, denial)
    for origin, denial in (("x.test", None), ("y.test", Denial(Hashing(1, b"s"), opt_out=True)))
]
_CATALOG = Catalog(_ZONES, Access({_KEY.name: _KEY}, frozenset({"127.0.0.1"})))
_QUESTIONS = [
    messages.write(messages.query(1, names.to_wire(f"{name}.{zone}.test"), number, edns=Edns(dnssec_ok=True)))
    for zone in "xy"
    for name, number in (("ns", 1), ("q.w", 16), ("none", 1), ("a", 1), ("q.d", 1), ("c", 43), ("c", 252), ("c", 251))
]
SEEDS = (
    *_QUESTIONS,
    *(
        answered
        for query in _QUESTIONS
        for answered in respond(_CATALOG, query, tcp=True, address="127.0.0.1", now=_NOW)
    ),
)


def fuzz(octets: bytes) -> None:
    """Ask the server with the octets, and validate with them as the second response."""
    for tcp in (False, True):
        for answered in respond(_CATALOG, octets, tcp=tcp, address="127.0.0.1", now=_NOW):
            messages.read(answered)
    for zone in _ZONES:
        _validate(zone, octets)


def _validate(zone: Zone, octets: bytes) -> None:
    try:
        lie: messages.Message | NoResponse = messages.read(octets)
    except Malformed as error:
        lie = NoResponse(str(error))
    origin = names.to_text(zone.origin)
    validation = validate(Question(f"none.{origin}", "A"), Memory(anchors_of(zone)), _NOW)
    fetch = next(validation)
    try:
        fetch = validation.send(lie)
        while True:
            query = messages.write(messages.query(1, fetch.owner, fetch.type, edns=Edns(dnssec_ok=True)))
            fetch = validation.send(messages.read(next(respond(_CATALOG, query, tcp=True))))
    except StopIteration as stop:
        answer: Answer = stop.value
    # The name does not exist: nothing may prove that it does.
    assert not (answer.security is Security.SECURE and answer.outcome is Outcome.FOUND), answer
