"""DKIM verification: what passes, and every way in which something must not."""

import base64
import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.dns.question import Answer, Question
from letterlock.trust import dkim
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.signing import DEFAULT_MANNER, folded_field, names_to_sign, with_signature
from letterlock.trust.dkim.verification import signed_octets
from letterlock.trust.primitives import eddsa, rsa

Dns = Callable[[Any], Callable[[Question], Answer]]
NOW = 1_800_000_000
MESSAGE = (
    b"From: Rose <rose@rosewood.test>\r\nTo: ash@ashgrove.test\r\nSubject: The hedge\r\n"
    b"Date: Fri, 15 Jan 2027 08:00:00 +0000\r\nMessage-ID: <1@rosewood.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain\r\n\r\nIt needs  cutting.\r\n\r\nRose\r\n"
)


@functools.cache
def _rsa(bits: int = 2048) -> rsa.PrivateKey:
    return rsa.generate(bits)


@functools.cache
def _ed25519() -> eddsa.Ed25519PrivateKey:
    return eddsa.generate_ed25519()


def _key(selector: str = "r1") -> dkim.SigningKey:
    return dkim.SigningKey("rosewood.test", selector, _rsa())


def _zone(*keys: dkim.SigningKey) -> dict[str, str]:
    return {f"{key.selector}._domainkey.{key.domain}": key.record() for key in keys}


def _signed(
    message: bytes = MESSAGE,
    key: dkim.SigningKey | None = None,
    *,
    names: tuple[str, ...] | None = None,
    body: bytes | None = None,
    **tags: str,
) -> bytes:
    """Sign with chosen h= and tags, as a careless or hostile signer would."""
    key = key or _key()
    end = message.index(b"\r\n\r\n") + 4
    fields = Fields.of(message[:end])
    kind = _kind(int(tags["l"]) if "l" in tags else None)
    bodies = dkim.BodyHashes()
    bodies.add(kind)
    bodies.feed(message[end:] if body is None else body)
    merged = {"v": "1", "a": key.algorithm, "c": "relaxed/relaxed", "d": key.domain, "s": key.selector} | tags
    names = names_to_sign(fields) if names is None else names
    unsigned = folded_field("DKIM-Signature", list(merged.items()), names, bodies.digest(kind))
    octets = signed_octets(fields, Field(b"dkim-signature", unsigned), names, dkim.Canonicalization.RELAXED)
    return with_signature(unsigned, key.sign(octets)) + message


def _kind(length: int | None) -> Any:
    from letterlock.trust.dkim.canonicalize import BodyHashKind

    return BodyHashKind(dkim.Canonicalization.RELAXED, "sha256", length)


def _verify(dns: Dns, octets: bytes, zone: dict[str, Any] | None = None, now: int = NOW, **rules: Any) -> Any:
    answers = dns(_zone(_key()) if zone is None else zone)
    verdict = dkim.verify_blocking(answers, octets, now, dataclasses.replace(dkim.Rules(), **rules))
    assert verdict.signatures, "the message has a signature"
    return verdict.signatures[0]


def test_both_algorithms_pass_together(dns: Dns) -> None:
    """Signed with RSA and Ed25519, both verify, and the fields are folded and ASCII."""
    keys = (_key(), dkim.SigningKey("rosewood.test", "e1", _ed25519()))
    prepended = dkim.sign(MESSAGE, keys, NOW)
    assert all(len(line) <= 78 for line in prepended.splitlines())
    verdict = dkim.verify_blocking(dns(_zone(*keys)), prepended + MESSAGE, NOW)
    assert [one.result for one in verdict.signatures] == [dkim.Result.PASS] * 2
    assert [one.algorithm for one in verdict.signatures] == ["rsa-sha256", "ed25519-sha256"]
    assert verdict.passing_domains == ("rosewood.test",)


@pytest.mark.parametrize("header", list(dkim.Canonicalization))
@pytest.mark.parametrize("body", list(dkim.Canonicalization))
def test_every_canonicalization(dns: Dns, header: dkim.Canonicalization, body: dkim.Canonicalization) -> None:
    """Each pair signs and verifies; relaxed survives white space, simple does not."""
    manner = dkim.Manner(header, body)
    octets = dkim.sign(MESSAGE, (_key(),), NOW, manner) + MESSAGE
    assert _verify(dns, octets).result is dkim.Result.PASS
    respaced_body = _verify(dns, octets.replace(b"needs  cutting", b"needs cutting"))
    assert (respaced_body.result is dkim.Result.PASS) == (body is dkim.Canonicalization.RELAXED)
    respaced_header = _verify(dns, octets.replace(b"Subject: The", b"Subject:   The"))
    assert (respaced_header.result is dkim.Result.PASS) == (header is dkim.Canonicalization.RELAXED)


def test_the_message_of_rfc_8463(dns: Dns) -> None:
    """RFC 8463 appendix A.3: the Ed25519 signature passes; the RSA key of 1024 bits passes with a warning."""
    message = RFC8463.replace(b"\n", b"\r\n")
    zone = {
        "brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; "
        "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
        "Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    }
    verdict = dkim.verify_blocking(dns(zone), message, 1528637909)
    assert [one.result.value for one in verdict.signatures] == ["pass", "pass"]
    assert "1024 bits is weak" in verdict.signatures[1].warnings[0]


def test_unsigned_mail_has_no_verdict_but_none(dns: Dns) -> None:
    """RFC 8601 section 2.7.1: none is the result of a message without a signature."""
    assert dkim.verify_blocking(dns({}), MESSAGE, NOW).result is dkim.Result.NONE


def test_body_and_header_are_judged_apart(dns: Dns) -> None:
    """A changed body leaves the header signature right, and the other way round."""
    octets = dkim.sign(MESSAGE, (_key(),), NOW) + MESSAGE
    changed = _verify(dns, octets.replace(b"cutting", b"burning"))
    assert (changed.result.value, changed.body_hash.value, changed.header_signature.value) == ("fail", "fail", "pass")
    changed = _verify(dns, octets.replace(b"The hedge", b"The fence"))
    assert (changed.result.value, changed.body_hash.value, changed.header_signature.value) == ("fail", "pass", "fail")


@pytest.mark.parametrize(
    ("octets", "record", "result"),
    [
        pytest.param(lambda: _signed(names=("to", "subject")), None, "permerror", id="unsigned From"),
        pytest.param(lambda: _signed(names=("",)), None, "neutral", id="empty h="),
        pytest.param(lambda: _signed(l="10", body=b"It needs") + b"BUY", None, "fail", id="l= cut short"),
        pytest.param(lambda: _signed(l="19") + b"Buy roses!\r\n", None, "policy", id="l= append"),
        pytest.param(lambda: _signed(l="9999"), None, "permerror", id="l= beyond the body"),
        pytest.param(lambda: _signed(l="0") + b"anything", None, "policy", id="l=0"),
        pytest.param(
            lambda: b"From: evil@evil.test\r\n" + _signed(names=("from",)), None, "policy", id="a second From on top"
        ),
        pytest.param(lambda: b"From: evil@evil.test\r\n" + _signed(), None, "fail", id="a second From, oversigned"),
        pytest.param(
            lambda: b"Subject: Win\r\n" + _signed(names=("from", "subject")), None, "policy", id="a second Subject"
        ),
        pytest.param(
            lambda: b"Content-Type: text/html\r\n" + _signed(names=("from", "subject", "content-type")),
            None,
            "policy",
            id="a second Content-Type",
        ),
        pytest.param(lambda: _signed(t="1799990000", x="1799999999"), None, "permerror", id="expired"),
        pytest.param(lambda: _signed(t=str(NOW + 3600)), None, "policy", id="signed in the future"),
        pytest.param(lambda: _signed(t="1000", x="1000"), None, "neutral", id="x= not after t="),
        pytest.param(lambda: _signed(i="@sub.rosewood.test"), "t=s; ", "permerror", id="t=s and i= of a subdomain"),
        pytest.param(lambda: _signed(i="@wood.test"), None, "permerror", id="i= outside d="),
        pytest.param(lambda: _signed(i="@evilrosewood.test"), None, "permerror", id="i= that only ends like d="),
        pytest.param(lambda: _signed(), "h=sha1; ", "permerror", id="h= of the key forbids sha256"),
        pytest.param(lambda: _signed(), "s=tlsrpt; ", "permerror", id="service type"),
        pytest.param(lambda: _signed(), "k=ed25519; ", "permerror", id="key of another type"),
        pytest.param(lambda: _signed(), "t=y; ", "neutral", id="domain only tests"),
        pytest.param(lambda: _signed(s="r2"), None, "permerror", id="another selector"),
        pytest.param(lambda: _signed(v="2"), None, "neutral", id="unknown version"),
        pytest.param(lambda: _signed(a="rsa-md5"), None, "neutral", id="unknown algorithm"),
        pytest.param(lambda: _signed(q="http"), None, "neutral", id="unknown query method"),
        pytest.param(lambda: _signed(c="nofws"), None, "neutral", id="unknown canonicalization"),
        pytest.param(lambda: _signed(d="rosewood-.test"), None, "neutral", id="a domain that ends a label in a hyphen"),
        pytest.param(lambda: _signed(d="rosewood.test.evil.test"), None, "permerror", id="a longer domain"),
    ],
)
def test_attack(dns: Dns, octets: Callable[[], bytes], record: str | None, result: str) -> None:
    """No attack passes, and each gets the result RFC 8601 section 2.7.1 has for it."""
    zone = _zone(_key())
    if record is not None:
        name, text = next(iter(zone.items()))
        text = re.sub(r"k=rsa; ", "", text) if "k=" in record else text
        zone = {name: text.replace("v=DKIM1; ", f"v=DKIM1; {record}")}
    verdict = _verify(dns, octets(), zone)
    assert verdict.result.value == result, verdict.reason
    assert verdict.reason


def test_a_key_of_512_bits_is_refused(dns: Dns) -> None:
    """RFC 8301 section 3.2: the signature is right, and anyone can make one like it in an afternoon."""
    end = MESSAGE.index(b"\r\n\r\n") + 4
    fields = Fields.of(MESSAGE[:end])
    tags = [("v", "1"), ("a", "rsa-sha256"), ("c", "relaxed/relaxed"), ("d", "rosewood.test"), ("s", "r1")]
    unsigned = folded_field(
        "DKIM-Signature", tags, ("from",), hashlib.sha256(b"It needs cutting.\r\n\r\nRose\r\n").digest()
    )
    octets = signed_octets(fields, Field(b"dkim-signature", unsigned), ("from",), dkim.Canonicalization.RELAXED)
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(octets).digest()
    padded = b"\x00\x01" + b"\xff" * (64 - 3 - len(info)) + b"\x00" + info
    signature = pow(int.from_bytes(padded), WEAK_PRIVATE_EXPONENT, WEAK_MODULUS).to_bytes(64)
    der = bytes.fromhex("3048024100") + WEAK_MODULUS.to_bytes(64) + bytes.fromhex("0203010001")
    record = "v=DKIM1; p=" + base64.b64encode(der).decode()
    signed = with_signature(unsigned, signature) + MESSAGE
    verdict = _verify(dns, signed, {"r1._domainkey.rosewood.test": record})
    assert (verdict.result.value, verdict.header_signature.value, verdict.key_bits) == ("policy", "pass", 512)


def test_a_key_of_1024_bits_passes_with_a_warning(dns: Dns) -> None:
    """RFC 8301 section 3.2: verifiers must accept 1024 bits; the warning says what to use."""
    key = dkim.SigningKey("rosewood.test", "old", _rsa(1024))
    verdict = _verify(dns, dkim.sign(MESSAGE, (key,), NOW) + MESSAGE, _zone(key))
    assert verdict.result is dkim.Result.PASS
    assert "1024" in verdict.warnings[0]


def test_rsa_sha1_is_only_reported(dns: Dns) -> None:
    """RFC 8301 section 3.1: it is verified, named, and protects nothing."""
    end = MESSAGE.index(b"\r\n\r\n") + 4
    fields = Fields.of(MESSAGE[:end])
    names = ("from", "to", "subject")
    digest = hashlib.sha1(b"It needs cutting.\r\n\r\nRose\r\n").digest()
    tags = [("v", "1"), ("a", "rsa-sha1"), ("c", "relaxed/relaxed"), ("d", "rosewood.test"), ("s", "r1")]
    unsigned = folded_field("DKIM-Signature", tags, names, digest)
    octets = signed_octets(fields, Field(b"dkim-signature", unsigned), names, dkim.Canonicalization.RELAXED)
    signed = with_signature(unsigned, rsa.sign(_rsa(), octets, "sha1")) + MESSAGE
    verdict = _verify(dns, signed)
    assert (verdict.result.value, verdict.body_hash.value, verdict.header_signature.value) == ("policy", "pass", "pass")
    assert "rsa-sha1" in verdict.reason


def test_a_body_length_can_be_accepted_by_name(dns: Dns) -> None:
    """The rule exists, is off by default, and warns when on."""
    verdict = _verify(dns, _signed(l="19") + b"Buy roses!\r\n", accept_body_length=True)
    assert verdict.result is dkim.Result.PASS
    assert "anyone may append" in verdict.warnings[0]


@pytest.mark.parametrize(
    ("zone", "result"),
    [
        ({}, "permerror"),
        ({"r1._domainkey.rosewood.test": None}, "temperror"),
        ({"r1._domainkey.rosewood.test": "v=DKIM1; p="}, "permerror"),
        ({"r1._domainkey.rosewood.test": "v=DKIM1; p=!!"}, "permerror"),
        ({"r1._domainkey.rosewood.test": "p=AAAA"}, "permerror"),
        ({"r1._domainkey.rosewood.test": "k=rsa; v=DKIM1; p=AAAA"}, "permerror"),
        ({"r1._domainkey.rosewood.test": "hello"}, "permerror"),
    ],
)
def test_what_the_dns_may_say(dns: Dns, zone: dict[str, Any], result: str) -> None:
    """A key that could not be looked up is temperror and nothing else; no key, a revoked or broken one is permerror."""
    assert _verify(dns, _signed(), zone).result.value == result


def test_two_keys_at_one_selector_are_ambiguous(dns: Dns) -> None:
    """RFC 6376 section 3.6.2.2 leaves it undefined; we do not let chance decide."""
    record = _key().record()
    other = dkim.SigningKey("rosewood.test", "r1", _ed25519()).record()
    assert _verify(dns, _signed(), {"r1._domainkey.rosewood.test": [record, other]}).result.value == "permerror"
    assert _verify(dns, _signed(), {"r1._domainkey.rosewood.test": ["v=spf1 -all", record]}).result.value == "pass"


def test_a_key_may_come_in_several_strings(dns: Dns) -> None:
    """RFC 6376 section 3.6.2.2: strings are joined without a space."""
    from letterlock.formats.dns.rdata import Txt

    octets = _key().record().encode()
    pieces = tuple(octets[i : i + 100] for i in range(0, len(octets), 100))
    assert _verify(dns, _signed(), {"r1._domainkey.rosewood.test": Txt(pieces)}).result.value == "pass"


def test_an_internationalised_domain_is_asked_as_a_labels(dns: Dns) -> None:
    """RFC 8616 section 5: d= in UTF-8 leads to the same key as its A-labels."""
    key = dkim.SigningKey("xn--rse-sna.test", "r1", _rsa())
    signed = _signed(key=key, d="röse.test")
    assert _verify(dns, signed, _zone(key)).result is dkim.Result.PASS


def test_only_so_many_signatures_are_judged(dns: Dns) -> None:
    """The rest are named, and cost neither look-ups nor hashes."""
    octets = dkim.sign(MESSAGE, (_key(),) * 12, NOW) + MESSAGE
    verdict = dkim.verify_blocking(dns(_zone(_key())), octets, NOW)
    assert [one.result.value for one in verdict.signatures] == ["pass"] * 8 + ["policy"] * 4


def test_replay_is_bounded_by_expiry(dns: Dns) -> None:
    """A message sent again verifies as long as its signature lives and no longer."""
    octets = dkim.sign(MESSAGE, (_key(),), NOW, dataclasses.replace(DEFAULT_MANNER, lifetime_seconds=3600)) + MESSAGE
    assert _verify(dns, octets, now=NOW + 3600).result is dkim.Result.PASS
    assert _verify(dns, octets, now=NOW + 3601).result is dkim.Result.PERMERROR


@pytest.mark.parametrize(
    "message", [b"Subject: x\r\n\r\n", b"From: a@b\r\nFrom: c@d\r\n\r\n", b"From: a@b\r\n\r\nx\ny"]
)
def test_what_cannot_be_signed(message: bytes) -> None:
    """No From, two of them, or a bare LF: refused, not signed wrongly."""
    with pytest.raises(Malformed):
        dkim.sign(message, (_key(),), NOW)


@given(st.binary(max_size=300))
def test_garbage_is_never_an_exception(octets: bytes) -> None:
    """Any octets as a message, a signature or a key record end in a verdict."""

    def answer(question: Question) -> Answer:
        from letterlock.formats.dns.question import Outcome
        from letterlock.formats.dns.rdata import Txt

        return Answer(question, Outcome.FOUND, (Txt((octets,)),))

    dkim.verify_blocking(answer, octets, NOW)
    field = b"DKIM-Signature: " + octets.replace(b"\r\n", b"") + b"\r\n\r\n"
    dkim.verify_blocking(answer, field, NOW)
    assert dkim.verify_blocking(answer, _signed(), NOW).result is not dkim.Result.PASS


WEAK_MODULUS = int(
    "91b066036a1eca9ecb4bc8240019d0b8dde148ae7ac66ff9e8e1554e85a582c2"
    "8d146d90a1035ac9b6fac20b2babfd711870bae3758a7faf8296c044cc88ea27",
    16,
)
WEAK_PRIVATE_EXPONENT = int(
    "61a5cfda3e08815a497c739add8e6ffd588a2502fd3b7fd60b26ecdc826b5ae6"
    "34727fba71c34b21b6e1328b8587738df8f51188e3c03f31b0e5321f1ed694b1",
    16,
)

RFC8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
