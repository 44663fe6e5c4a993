"""Receipts as a person meets them: who is told that one is due, and what one that arrives proves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.cms.ess import expansion
from letterlock.formats.cms.ess.expansion import Expansion, PolicyKind, ReceiptPolicy
from letterlock.formats.cms.identifiers import of
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509.name import GeneralName
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.mua import receipts
from letterlock.mua.compose import Draft, compose
from letterlock.mua.receipts import Asking, Matched
from letterlock.trust.smime import protect
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.entities import split, wrap
from letterlock.trust.smime.proof import Proof, prove
from letterlock.trust.smime.receipts import request
from letterlock.trust.smime.unwrap import SignedLayer, Unwrapped, unwrap
from trust.smime.conftest import People

PEOPLE = People()
ADA, BOB, LIST = "ada@rosewood.test", "bob@rosewood.test", "list@rosewood.test"
MESSAGE = (
    b"From: %s\r\nTo: %s\r\nSubject: Beds\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@rosewood.test>\r\n\r\nx\r\n"
)


def _signed(who: str, message: bytes, *attributes: Attribute, opaque: bool = False) -> bytes:
    signer = dataclasses.replace(PEOPLE.named(who).signer, attributes=attributes)
    return protect.sign_message(message, (signer,), PEOPLE.now, protect_header=True, opaque=opaque, token="t")


def _sent(*attributes: Attribute) -> bytes:
    return _signed("ada", MESSAGE % (ADA.encode(), BOB.encode()), *attributes or (_request(),))


def _request() -> Attribute:
    return receipts.request_for("1@rosewood.test", ADA)


def _judged(octets: bytes) -> tuple[Unwrapped, Proof]:
    unwrapped = unwrap(octets)
    return unwrapped, prove(read_header(octets), unwrapped, PEOPLE.trust())


def _asked(octets: bytes, who: str = BOB) -> Asking | None:
    return receipts.asked(*_judged(octets), who)


def _receipt(octets: bytes, who: str = "bob") -> bytes:
    asking = _asked(octets)
    assert asking is not None
    draft = Draft(f"{who}@rosewood.test", asking.wanted.addresses, receipts.SUBJECT, "")
    composed = compose(draft, clock=SetClock(), entropy=SeededEntropy())
    return receipts.answered(asking, PEOPLE.named(who).signer, composed, PEOPLE.now).content


def _matched(octets: bytes, sent: bytes | None) -> Matched:
    unwrapped, proof = _judged(octets)
    found = receipts.arrived(unwrapped, read_header(octets))
    assert found is not None
    return receipts.match(
        found, proof, None if sent is None else unwrap(sent), None if sent is None else read_header(sent)
    )


def _through_list(policy: ReceiptPolicy | None, *before: ReceiptPolicy | None) -> bytes:
    entries = tuple(Expansion(of(PEOPLE.named("list").certificate), PEOPLE.now, each) for each in (*before, policy))
    history = Attribute.of(oids.ML_EXPANSION_HISTORY, expansion.encode(entries))
    signer = dataclasses.replace(PEOPLE.named("list").signer, attributes=(history,))
    return protect.sign_message(_sent(), (signer,), PEOPLE.now, token="u")


def _elsewhere(kind: PolicyKind) -> ReceiptPolicy:
    return ReceiptPolicy(kind, ((GeneralName.email(LIST),),))


def test_due_and_not_due() -> None:
    """Of whom it is asked, and of nobody without a request."""
    asking = _asked(_sent())
    assert asking is not None
    assert (asking.wanted.send, asking.wanted.addresses, asking.was_encrypted) == (True, (ADA,), False)
    assert _asked(MESSAGE % (ADA.encode(), BOB.encode())) is None
    assert _asked(_signed("ada", MESSAGE % (ADA.encode(), BOB.encode()))) is None
    other = _asked(_sent(request(b"1", ADA, ("carol@rosewood.test",))))
    assert other is not None
    assert (other.wanted.send, other.wanted.reason) == (False, "receipts are wanted of others")
    with pytest.raises(Malformed):
        receipts.request_for("", ADA)


NOTHING = "the signature proves nothing, and a receipt would say that it does"
SPOILT: dict[str, tuple[Callable[[], bytes], str]] = {
    "changed on the way": (lambda: _sent().replace(b"\r\n\r\nx\r\n", b"\r\n\r\ny\r\n"), NOTHING),
    "somebody else's From": (lambda: _sent().replace(b"From: ada", b"From: eve"), NOTHING),
    "a request that is none": (
        lambda: _sent(Attribute.of(oids.RECEIPT_REQUEST, b"\x05\x00")),
        "NULL where SEQUENCE belongs",
    ),
    "a list's spoilt signature": (
        lambda: _through_list(None).replace(
            b"This is a message signed with S/MIME.\r\n--=_t_s", b"Changed.\r\n--=_t_s"
        ),
        "a signature around it does not hold",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_nothing_spoilt_is_answered(what: str) -> None:
    """A receipt says that a signature was verified (RFC 2634 section 2.3)."""
    make, reason = SPOILT[what]
    asking = _asked(make())
    assert asking is not None
    assert not asking.wanted.send
    assert reason in asking.wanted.reason
    with pytest.raises(NotAuthentic):
        receipts.answered(asking, PEOPLE.named("bob").signer, compose(
            Draft(BOB, (ADA,), "", ""), clock=SetClock(), entropy=SeededEntropy()), PEOPLE.now)  # fmt: skip


@pytest.mark.parametrize(
    ("policies", "to"),
    [
        ((None,), (ADA,)),
        ((ReceiptPolicy(PolicyKind.NONE),), ()),
        ((_elsewhere(PolicyKind.INSTEAD_OF),), (LIST,)),
        ((_elsewhere(PolicyKind.IN_ADDITION_TO),), (ADA, LIST)),
        ((None, ReceiptPolicy(PolicyKind.NONE)), (ADA,)),  # the last list's alone counts
    ],
)
def test_what_the_lists_on_the_way_want(policies: tuple[ReceiptPolicy | None, ...], to: tuple[str, ...]) -> None:
    """RFC 2634 section 2.5; each policy is the last list's, those behind it are of lists before."""
    asking = _asked(_through_list(*policies))
    assert asking is not None
    assert asking.wanted.addresses == to
    assert asking.wanted.send is bool(to)


def test_signers_who_ask_for_different_receipts() -> None:
    """Get none (RFC 2634 section 2.3)."""
    signers = tuple(
        dataclasses.replace(PEOPLE.named("ada", kind).signer, attributes=(request(identifier, ADA),))
        for kind, identifier in (("p256", b"1"), ("rsa2048", b"2"))
    )
    made = protect.sign_message(MESSAGE % (ADA.encode(), BOB.encode()), signers, PEOPLE.now, token="t")
    asking = _asked(made)
    assert asking is not None
    assert asking.wanted.reason == "its signers ask for different receipts"


def test_what_a_receipt_proves() -> None:
    """Who received which message, where all fits; nothing where anything does not. A receipt asks for none itself."""
    sent = _sent()
    receipt = _receipt(sent)
    good = _matched(receipt, sent)
    assert good == Matched(
        True,
        f'{BOB} received "Beds" of Mon, 23 Nov 2026 12:00:00 +0000 and verified its signature',
        BOB,
        "1@rosewood.test",
    )
    assert receipts.arrived(unwrap(sent), read_header(sent)) is None
    assert _asked(receipt, ADA) is None
    for octets, original, reason in (
        (receipt, None, "not among those sent from here"),
        (receipt, _sent(), "another signature"),  # the same letter, signed once more
        (receipt.replace(b"From: bob", b"From: carol"), sent, "who gave it is not proved"),
        (_spoilt(receipt), sent, "proves nothing"),
    ):
        found = _matched(octets, original)
        assert not found.proved
        assert reason in found.sentence


def _spoilt(receipt: bytes) -> bytes:
    """The receipt with a bit of its signature turned over."""
    unwrapped = unwrap(receipt)
    layer = unwrapped.layers[0]
    assert isinstance(layer, SignedLayer)
    value = layer.checks[0].signer.signature
    cms = parse(receipt).content().replace(value, value[:-1] + bytes((value[-1] ^ 1,)))
    return wrap(split(receipt).outer, cms, "signed-receipt")


def test_a_receipt_for_a_message_that_cannot_be_opened_any_more() -> None:
    """Says so."""
    sealed = protect.encrypt_message(_sent(), (To(PEOPLE.named("ada").certificate),), protect_header=True)
    unwrapped, proof = _judged(_receipt(_sent()))
    found = receipts.arrived(unwrapped, read_header(b""))
    assert found is not None
    assert found.candidates == ("1@rosewood.test",)
    told = receipts.match(found, proof, unwrap(sealed), read_header(sealed))
    assert not told.proved
    assert "cannot be opened here any more" in told.sentence
