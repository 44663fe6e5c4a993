"""ARC chains: sealed by us, changed on the way, broken in every place."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.trust import arc, dkim
from letterlock.trust.primitives import eddsa, rsa

Dns = Callable[[Any], Callable[[Question], Answer]]
NOW = 1_800_000_000
MESSAGE = b"From: rose@rosewood.test\r\nTo: list@lists.test\r\nSubject: Hedges\r\n\r\nThey grow.\r\n"
RESULTS = AuthenticationResults("mx.lists.test", (MethodResult("dmarc", "pass"),))


@functools.cache
def _keys() -> tuple[dkim.SigningKey, dkim.SigningKey]:
    return (
        dkim.SigningKey("lists.test", "a", rsa.generate()),
        dkim.SigningKey("forward.test", "b", eddsa.generate_ed25519()),
    )


def _answers(dns: Dns) -> Callable[[Question], Answer]:
    return dns({f"{key.selector}._domainkey.{key.domain}": key.record() for key in _keys()})


def _sealed(dns: Dns, octets: bytes, key: dkim.SigningKey) -> bytes:
    verdict = arc.validate_blocking(_answers(dns), octets, NOW)
    return arc.seal(octets, key, NOW, verdict, RESULTS) + octets


def test_a_chain_of_three_passes(dns: Dns) -> None:
    """Each handler changes the message and seals it; the chain passes and tells what each found."""
    octets = MESSAGE
    first, second = _keys()
    for number, key in enumerate((first, second, first), 1):
        octets = _sealed(dns, octets, key)
        verdict = arc.validate_blocking(_answers(dns), octets, NOW)
        assert (verdict.result, len(verdict.sets)) == (arc.Result.PASS, number), verdict.reason
        octets = octets.replace(b"They grow.", b"They grow. [list]")
        changed = arc.validate_blocking(_answers(dns), octets, NOW)
        assert changed.result is arc.Result.FAIL
        octets = octets.replace(b"They grow. [list]", b"They grow.")
    assert verdict.sealers == ("lists.test", "forward.test", "lists.test")
    results = verdict.sets[0].results
    assert results is not None
    assert results.results[0].method == "dmarc"


def test_no_chain_is_none(dns: Dns) -> None:
    """A message without ARC has the result none."""
    assert arc.validate_blocking(dns({}), MESSAGE, NOW).result is arc.Result.NONE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"They grow", b"They die"),
        (b"Subject: Hedges", b"Subject: Money"),
        (b"dmarc=pass", b"dmarc=fail"),
        (b"cv=pass", b"cv=none"),
        (b"i=2; a=ed25519-sha256; cv=pass", b"i=3; a=ed25519-sha256; cv=pass"),
        (b"ARC-Seal: i=1", b"X-Gone: i=1"),
        (b"ARC-Message-Signature: i=1;", b"ARC-Message-Signature: i=1; l=3;"),
        (b"ARC-Authentication-Results: i=1; ", b"ARC-Authentication-Results: "),
    ],
)
def test_any_change_breaks_it(dns: Dns, old: bytes, new: bytes) -> None:
    """A changed body, field, finding, or a missing or renumbered seal is a fail, with the reason."""
    octets = _sealed(dns, _sealed(dns, MESSAGE, _keys()[0]), _keys()[1])
    assert old in octets
    verdict = arc.validate_blocking(_answers(dns), octets.replace(old, new), NOW)
    assert verdict.result is arc.Result.FAIL
    assert verdict.reason


def test_a_key_that_cannot_be_looked_up_is_no_failure(dns: Dns) -> None:
    """The three-valued rule: SERVFAIL is temperror, a missing key is fail."""
    octets = _sealed(dns, MESSAGE, _keys()[0])
    assert arc.validate_blocking(dns({"a._domainkey.lists.test": None}), octets, NOW).result is arc.Result.TEMPERROR
    assert arc.validate_blocking(dns({}), octets, NOW).result is arc.Result.FAIL


@pytest.mark.parametrize(("flags", "result"), [("t=s; ", "pass"), ("s=tlsrpt; ", "fail"), ("h=sha1; ", "fail")])
def test_what_a_key_permits_binds_seals_too(dns: Dns, flags: str, result: str) -> None:
    """RFC 6376 section 3.6.1: the keys are those of DKIM, with their restrictions."""
    key = _keys()[0]
    octets = _sealed(dns, MESSAGE, key)
    zone = {"a._domainkey.lists.test": key.record().replace("v=DKIM1; ", f"v=DKIM1; {flags}")}
    assert arc.validate_blocking(dns(zone), octets, NOW).result.value == result


def test_a_broken_chain_is_sealed_once_as_broken(dns: Dns) -> None:
    """RFC 8617 section 5.1.2: cv=fail is recorded, and nothing is added after it."""
    octets = _sealed(dns, MESSAGE, _keys()[0]).replace(b"They grow", b"They die")
    broken = _sealed(dns, octets, _keys()[1])
    assert broken.startswith(b"ARC-Seal: i=2; a=ed25519-sha256; cv=fail;")
    verdict = arc.validate_blocking(_answers(dns), broken, NOW)
    assert verdict.result is arc.Result.FAIL
    assert arc.seal(broken, _keys()[0], NOW, verdict, RESULTS) == b""


@given(st.binary(max_size=200))
def test_garbage_is_never_an_exception(octets: bytes) -> None:
    """Any octets in any ARC field end in a verdict."""

    def answer(question: Question) -> Answer:
        return Answer(question, Outcome.NO_NAME)

    value = octets.replace(b"\r", b"").replace(b"\n", b"")
    header = b"".join(name + b": i=1;" + value + b"\r\n" for name in (b"ARC-Seal", b"ARC-Message-Signature"))
    arc.validate_blocking(answer, header + b"ARC-Authentication-Results: i=1;" + value + b"\r\n\r\n", NOW)
