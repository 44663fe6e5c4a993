"""The table of attacks: each is one message from a stranger's server that must not reach an inbox as rosewood.test's.

rosewood.test publishes p=reject and a key; the attacker has its own domain, server and keys, and whatever it saw of
rosewood's mail. Every row goes through the whole border.
"""

import functools
import hashlib
from collections.abc import Callable

import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.trust import dkim
from letterlock.trust.dkim.canonicalize import BodyHashKind
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.signing import folded_field, names_to_sign, with_signature
from letterlock.trust.dkim.verification import signed_octets
from letterlock.trust.primitives import eddsa, rsa

NOW = 1_800_000_000
RELAXED = dkim.Canonicalization.RELAXED
REST = b"To: ada@garden.test\r\nSubject: Hedge\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n\r\nCut it, please.\r\n"
GENUINE = b"From: rose@rosewood.test\r\n" + REST
ZONE = """
rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject"
evil.test. IN TXT "v=spf1 ip4:203.0.113.66 -all"
_dmarc.evil.test. IN TXT "v=DMARC1; p=none"
_dmarc.xn--rsewood-90a.test. IN TXT "v=DMARC1; p=reject"
"""
Make = Callable[[], bytes]


@functools.cache
def _key(domain: str, selector: str = "s") -> dkim.SigningKey:
    return dkim.SigningKey(domain, selector, eddsa.generate_ed25519())


@functools.cache
def _rsa_key() -> dkim.SigningKey:
    return dkim.SigningKey("rosewood.test", "big", rsa.generate())


def _records(flags: str = "") -> str:
    keys = (_key("rosewood.test"), _key("evil.test"), _rsa_key())
    lines = []
    for key in keys:
        text = key.record()
        if key.domain == "rosewood.test":
            text = text.replace("v=DKIM1; ", f"v=DKIM1; {flags}")
        strings = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
        lines.append(f"{key.selector}._domainkey.{key.domain}. IN TXT {strings}")
    return "\n".join(lines)


def signed(
    message: bytes = GENUINE, *, domain: str = "rosewood.test", names: tuple[str, ...] | None = None, **tags: str
) -> bytes:
    """Sign as a careless signer would: chosen h= and tags."""
    key = _key(domain)
    section, _, body = message.partition(b"\r\n\r\n")
    fields = Fields.of(section + b"\r\n\r\n")
    kind = BodyHashKind(RELAXED, "sha256", int(tags["l"]) if "l" in tags else None)
    bodies = dkim.BodyHashes()
    bodies.add(kind)
    bodies.feed(body)
    merged = {"v": "1", "a": key.algorithm, "c": "relaxed/relaxed", "d": domain, "s": "s", "t": str(NOW - 60)} | tags
    names = names_to_sign(fields) if names is None else names
    unsigned = folded_field("DKIM-Signature", list(merged.items()), names, bodies.digest(kind))
    octets = signed_octets(fields, Field(b"dkim-signature", unsigned), names, RELAXED)
    return with_signature(unsigned, key.sign(octets)) + message


def weakly_signed() -> bytes:
    """Sign with a key of 512 bits that rosewood.test forgot to take back."""
    section, _, body = GENUINE.partition(b"\r\n\r\n")
    fields = Fields.of(section + b"\r\n\r\n")
    tags = [("v", "1"), ("a", "rsa-sha256"), ("c", "relaxed/relaxed"), ("d", "rosewood.test"), ("s", "weak")]
    unsigned = folded_field("DKIM-Signature", tags, ("from",), hashlib.sha256(body).digest())
    octets = signed_octets(fields, Field(b"dkim-signature", unsigned), ("from",), RELAXED)
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(octets).digest()
    padded = b"\x00\x01" + b"\xff" * (64 - 3 - len(info)) + b"\x00" + info
    signature = pow(int.from_bytes(padded), PRIVATE, MODULUS).to_bytes(64)
    return with_signature(unsigned, signature) + GENUINE


MODULUS = int(
    "91b066036a1eca9ecb4bc8240019d0b8dde148ae7ac66ff9e8e1554e85a582c2"
    "8d146d90a1035ac9b6fac20b2babfd711870bae3758a7faf8296c044cc88ea27",
    16,
)
PRIVATE = int(
    "61a5cfda3e08815a497c739add8e6ffd588a2502fd3b7fd60b26ecdc826b5ae6"
    "34727fba71c34b21b6e1328b8587738df8f51188e3c03f31b0e5321f1ed694b1",
    16,
)
WEAK_RECORD = (
    'weak._domainkey.rosewood.test. IN TXT "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAJGwZgNqHsqey0vIJAAZ0Ljd4UiuesZv'
    '+ejhVU6FpYLCjRRtkKEDWsm2+sILK6v9cRhwuuN1in+vgpbARMyI6icCAwEAAQ=="'
)


def _from(author: str) -> Make:
    return lambda: f"From: {author}\r\n".encode() + REST


ATTACKS: dict[str, tuple[Make, str, dict[str, str]]] = {
    # name: (the message, flags of rosewood's key record, what is special about the client)
    "no signature at all": (lambda: GENUINE, "", {}),
    "From is not signed": (lambda: signed(names=("to", "subject")), "", {}),
    "h= is empty": (lambda: signed(names=("",)), "", {}),
    "text appended behind l=": (lambda: signed(l="17") + b"Pay at evil.test!\r\n", "", {}),
    "a second From above a signed one": (lambda: b"From: ceo@rosewood.test\r\n" + signed(names=("from",)), "", {}),
    "a second From below a signed one": (
        lambda: signed(names=("from",)).replace(b"\r\n\r\n", b"\r\nFrom: ceo@rosewood.test\r\n\r\n", 1),
        "",
        {},
    ),
    "a second Subject": (lambda: b"Subject: Pay now\r\n" + signed(names=("from", "subject")), "", {}),
    "a second Content-Type": (lambda: b"Content-Type: text/html\r\n" + signed(names=("from", "content-type")), "", {}),
    "the real author in a comment": (_from("(x@evil.test) rose@rosewood.test"), "", {}),
    "the author in a group": (_from("Friends: x@evil.test, rose@rosewood.test;"), "", {}),
    "several authors, the attacker's first": (_from("x@evil.test, rose@rosewood.test"), "", {}),
    "more authors than are judged": (
        _from(", ".join(f"x@evil{n}.test" for n in range(6)) + ", rose@rosewood.test"),
        "",
        {},
    ),
    "two addresses where one may stand": (_from("<x@evil.test> rose@rosewood.test"), "", {}),
    "an address for a display name, unquoted": (_from("rose@rosewood.test <x@evil.test>"), "", {}),
    "two at signs": (_from("rose@rosewood.test@evil.test"), "", {}),
    "a semicolon for a comma": (_from("rose@rosewood.test;x@evil.test"), "", {}),
    "NUL in the address": (_from("rose@rosewood.test\x00.evil.test"), "", {}),
    "octets that are no UTF-8 in the address": (lambda: b"From: rose@rosewood.test\xff\r\n" + REST, "", {}),
    "a label that ends in a hyphen": (_from("rose@rosewood-.test"), "", {}),
    "an internationalised look-alike with its own policy": (_from("rose@r\u00f6sewood.test"), "", {}),
    "a subdomain that does not exist": (_from("rose@pay.rosewood.test"), "", {}),
    "a signature of another domain": (lambda: signed(domain="evil.test"), "", {}),
    "an expired signature": (lambda: signed(t=str(NOW - 7200), x=str(NOW - 3600)), "", {}),
    "a signature from the future": (lambda: signed(t=str(NOW + 7200)), "", {}),
    "i= of a subdomain under t=s": (lambda: signed(i="@pay.rosewood.test"), "t=s; ", {}),
    "i= of another domain": (lambda: signed(i="@evil.test"), "", {}),
    "a digest the key forbids": (lambda: signed(), "h=sha1; ", {}),
    "a key for another service": (lambda: signed(), "s=tlsrpt; ", {}),
    "the selector of another key": (lambda: signed(s="big"), "", {}),
    "a selector that does not exist": (lambda: signed(s="none"), "", {}),
    "a key of 512 bits": (weakly_signed, "", {}),
    "a key in testing mode": (lambda: signed(), "t=y; ", {}),
    "SPF passes for the EHLO name only": (
        lambda: GENUINE,
        "",
        {"ip": "192.0.2.1", "helo": "rosewood.test", "mail_from": "x@evil.test"},
    ),
    "a null sender and a foreign EHLO name": (lambda: GENUINE, "", {"mail_from": "", "helo": "evil.test"}),
    "a forged Authentication-Results": (
        lambda: b"Authentication-Results: mx.garden.test; dmarc=pass header.from=rosewood.test\r\n" + GENUINE,
        "",
        {},
    ),
    "a replay with another subject": (lambda: signed().replace(b"Subject: Hedge", b"Subject: Pay"), "", {}),
    "a replay with another body": (lambda: signed().replace(b"Cut it", b"Pay it"), "", {}),
    "a replay after its signature expired": (lambda: signed(t=str(NOW - 99_000), x=str(NOW - 1)), "", {}),
}


def _border(flags: str = "") -> Assessor:
    return Assessor(AssessSettings("mx.garden.test"), ZoneTable.parse(ZONE + _records(flags) + "\n" + WEAK_RECORD))


def _arrival(
    content: bytes, *, ip: str = "203.0.113.66", helo: str = "mx.evil.test", mail_from: str = "x@evil.test"
) -> Arrival:
    envelope = Envelope(Address.parse(mail_from) if mail_from else None, (Recipient(Address.parse("ada@garden.test")),))
    return Arrival("t", NOW, Endpoint(ip, 1), helo, "ESMTP", None, "", envelope, (content,))


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_does_not_get_through(name: str) -> None:
    """It is refused, in so many words, and never said to pass."""
    make, flags, client = ATTACKS[name]
    assessment = await _border(flags)(_arrival(make(), **client))
    assert assessment.refusal is not None, assessment.fields
    assert assessment.refusal.code == 550
    assert dict(assessment.remarks)["dmarc"] in ("fail", "permerror")


async def test_the_same_border_takes_genuine_mail() -> None:
    """The control: rosewood's own mail, direct and forwarded, reaches the inbox; the rows above fail by their attack."""
    direct = await _border()(_arrival(GENUINE, ip="192.0.2.1", mail_from="rose@rosewood.test"))
    forwarded = await _border()(_arrival(signed()))
    strong = await _border()(_arrival(dkim.sign(GENUINE, (_rsa_key(),), NOW) + GENUINE))
    for assessment in (direct, forwarded, strong):
        assert (assessment.refusal, assessment.mailbox) == (None, "")
        assert b"dmarc=pass" in assessment.fields
