"""A signed tree of zones below `test.`, sound ones and ones broken in every way that a validator must notice.

`test_plans` returns the plans for `hostmaster.tree.sign_tree`; NAMES says what each child shows. The lab serves them
beside its organisations; the tests compare every verdict with other validators.
"""

from __future__ import annotations

from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.zone import DNSKEY, NSEC, NSEC3, RRSIG, Zone
from letterlock.hostmaster.tree import ZonePlan
from letterlock.trust.dnssec.sign import Denial, SigningKey

NAMES = {
    "good": "ECDSA P-256, two keys, NSEC",
    "hashed": "Ed25519, NSEC3",
    "optout": "ECDSA P-256, NSEC3 with opt-out, and an unsigned child",
    "rsa": "RSA/SHA-256, two keys",
    "rsa512": "RSA/SHA-512",
    "p384": "ECDSA P-384",
    "ed448": "Ed448, NSEC3 with salt and iterations",
    "insecure": "not signed",
    "expired": "signatures that have run out",
    "future": "signatures that do not hold yet",
    "badds": "a DS record that fits no key",
    "stripped": "a DS record, but no signatures",
    "unknown": "an algorithm nobody knows",
    "digest": "a digest nobody knows",
    "iterations": "NSEC3 with 500 iterations",
    "forged": "one record set that was changed after signing",
    "undenied": "no NSEC records in negative answers",
}

_BODY = """
@       3600 IN SOA  ns.test. hostmaster.test. 1 7200 900 1209600 300
@       3600 IN NS   ns.test.
@       300  IN MX   10 mail
@       300  IN TXT  "v=spf1 mx -all"
@       300  IN CAA  0 issue "lab.test"
mail    300  IN A    127.0.1.1
mail    300  IN AAAA ::1
www     300  IN A    127.0.1.2
alias   300  IN CNAME www
abroad  300  IN CNAME www.good.test.
outcast 300  IN CNAME www.insecure.test.
nowhere 300  IN CNAME none
old     300  IN DNAME new
a.new   300  IN TXT  "moved"
*.wild  300  IN TXT  "any"
deep.wild 300 IN A   127.0.1.3
*.walias 300 IN CNAME www
x.y.z   300  IN A    127.0.1.4
_25._tcp.mail 300 IN TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
_smtps._tcp 300 IN SRV 0 1 465 mail
host    300  IN HINFO "PDP-11" "UNIX"
list    300  IN MINFO owner errors
"""


def _zone(origin: str, extra: str = "") -> Zone:
    return Zone.parse(_BODY + extra, origin)


def _pair(algorithm: int) -> tuple[SigningKey, ...]:
    return SigningKey.generate(algorithm), SigningKey.generate(algorithm, is_entry=False)


def _one(algorithm: int = 13) -> tuple[SigningKey, ...]:
    return (SigningKey.generate(algorithm),)


def test_plans() -> list[ZonePlan]:
    """Return the plans of the children of `test.`, with keys newly made."""
    hashed = Denial(Hashing())
    plain = _one()
    secure_child = "sub IN NS ns.test.\nsigned IN NS ns.test.\n"
    return [
        ZonePlan(_zone("good.test", secure_child), _pair(13)),
        ZonePlan(_zone("sub.good.test")),
        ZonePlan(_zone("signed.good.test"), _one(15)),
        ZonePlan(_zone("hashed.test", secure_child), _one(15), hashed),
        ZonePlan(_zone("sub.hashed.test")),
        ZonePlan(_zone("signed.hashed.test"), _one(), hashed),
        ZonePlan(_zone("optout.test", secure_child), _one(), Denial(Hashing(), opt_out=True)),
        ZonePlan(_zone("sub.optout.test")),
        ZonePlan(_zone("signed.optout.test"), _one()),
        ZonePlan(_zone("rsa.test"), _pair(8)),
        ZonePlan(_zone("rsa512.test"), _one(10)),
        ZonePlan(_zone("p384.test"), _one(14)),
        ZonePlan(_zone("ed448.test"), _one(16), Denial(Hashing(10, b"\xca\xfe"))),
        ZonePlan(_zone("insecure.test")),
        ZonePlan(_zone("expired.test"), _one(), age=60 * 86400),
        ZonePlan(_zone("future.test"), _one(), age=-60 * 86400),
        ZonePlan(_zone("badds.test"), _one(), vouched=(SigningKey.generate().ds("badds.test"),)),
        ZonePlan(_zone("stripped.test"), plain, finish=_strip),
        ZonePlan(_zone("unknown.test"), plain, vouched=(_changed(plain[0].ds("unknown.test"), 2, 200),)),
        ZonePlan(_zone("digest.test"), plain, vouched=(_changed(plain[0].ds("digest.test"), 3, 200),)),
        ZonePlan(_zone("iterations.test"), _one(), Denial(Hashing(500))),
        ZonePlan(_zone("forged.test"), _one(), finish=_forge),
        ZonePlan(_zone("undenied.test"), _one(), finish=_undeny),
    ]


def parent_plans() -> list[ZonePlan]:
    """Return the plans of the root and of `test.`, which delegate to the children."""
    body = "@ 3600 IN SOA ns.test. hostmaster.test. 1 7200 900 1209600 300\n@ 3600 IN NS ns.test.\n"
    root = Zone.parse(body + "test. 3600 IN NS ns.test.\nns.test. 3600 IN A 127.0.0.1\n", "")
    children = "".join(f"{child} 3600 IN NS ns\n" for child in NAMES)
    test = Zone.parse(body + "ns 3600 IN A 127.0.0.1\n" + children, "test")
    return [ZonePlan(root, _pair(8)), ZonePlan(test, _pair(13))]


def _changed(ds: bytes, place: int, number: int) -> bytes:
    return ds[:place] + bytes((number,)) + ds[place + 1 :]


def _strip(zone: Zone) -> Zone:
    return zone.replace(record for record in zone.records() if record.type not in (RRSIG, NSEC, NSEC3, DNSKEY))


def _undeny(zone: Zone) -> Zone:
    return zone.replace(record for record in zone.records() if record.type != NSEC)


def _forge(zone: Zone) -> Zone:
    www = names.to_wire("www." + names.to_text(zone.origin))
    a = types.NUMBERS["A"]
    kept = [record for record in zone.records() if (record.owner, record.type) != (www, a)]
    return zone.replace([*kept, Record(www, a, types.IN, 300, bytes((127, 0, 6, 6)))])
