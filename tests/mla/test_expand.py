"""The mail list agent, by the examples of RFC 2634 section 4.2.1."""

from __future__ import annotations

import dataclasses
import datetime
import functools

import pytest

from letterlock.formats.asn1 import oids
from letterlock.formats.cms.ess.expansion import PolicyKind, ReceiptPolicy
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.name import GeneralName, Name
from letterlock.mla.expand import Expanded, MailList, Refused, combined, expand
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import labels, protect
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import CompressedLayer, EncryptedLayer, SignedLayer, unwrap

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
MESSAGE = b"From: ada@rosewood.test\r\nTo: garden@rosewood.test\r\nSubject: Beds\r\n\r\nDig on Monday.\r\n"


@functools.cache
def _authority() -> issue.Authority:
    return issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), NOW, 3650, 1)


@functools.cache
def _own(name: str) -> Own:
    key = key_pairs.generate("p256")
    usages = issue.usages_of(key.public)
    serial = issue.serial_number(name.encode().ljust(16, b"."))
    return Own(key, issue.certify(
        _authority(), key.public, Name.make(CN=name), (f"{name}@rosewood.test",), usages, when=NOW, days=9, serial=serial,
    ))  # fmt: skip


def _signer(name: str) -> Signer:
    own = _own(name)
    assert own.certificate is not None
    return Signer(own.key, own.certificate)


def _to(name: str) -> To:
    certificate = _own(name).certificate
    assert certificate is not None
    return To(certificate)


def _list(name: str = "garden", members: tuple[str, ...] = ("bob", "carol"), **more: object) -> MailList:
    known = {f"{member}@rosewood.test": _to(member) for member in members}
    return MailList(f"{name}@rosewood.test", KeyRing((_own(name),)), _signer(name), known, **more)  # type: ignore[arg-type]


def _sign(message: bytes, name: str = "ada") -> bytes:
    return protect.sign_message(message, (_signer(name),), NOW, opaque=True, token="t")


def _encrypt(message: bytes, *names: str) -> bytes:
    return protect.encrypt_message(message, tuple(map(_to, names or ("garden",))))


def _shape(message: bytes, reader: str) -> str:
    """Return the layers a reader sees, from the outside in: S signed, E encrypted."""
    unwrapped = unwrap(message, KeyRing((_own(reader),)))
    assert unwrapped.fault == "", unwrapped.fault
    letters = {SignedLayer: "S", EncryptedLayer: "E", CompressedLayer: "C"}
    for layer in unwrapped.layers:
        assert not isinstance(layer, SignedLayer) or all(check.good for check in layer.checks)
    assert unwrapped.content.endswith(b"Dig on Monday.\r\n")
    return "".join(letters[type(layer)] for layer in unwrapped.layers)


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        (MESSAGE, "S"),
        (_sign(MESSAGE), "SS"),
        (_sign(_sign(_sign(MESSAGE))), "SSSS"),
        (_encrypt(_sign(MESSAGE)), "SES"),
        (_encrypt(MESSAGE), "SE"),
        (_sign(_encrypt(_sign(MESSAGE))), "SES"),
        (_sign(_sign(_encrypt(_sign(MESSAGE)))), "SES"),
        (protect.sign_message(MESSAGE, (_signer("ada"),), NOW, token="t"), "SS"),
    ],
    ids=["data", "S", "SSS", "ES", "E", "SES", "SSES", "clear"],
)
def test_every_shape_reaches_every_member(message: bytes, shape: str) -> None:
    """Encryption goes on to the members, signatures around it give way to the list's."""
    expanded = expand(message, _list(), NOW, "token")
    assert isinstance(expanded, Expanded), expanded
    assert expanded.recipients == ("bob@rosewood.test", "carol@rosewood.test")
    for member in ("bob", "carol"):
        assert _shape(expanded.message, member) == shape
    assert len(expanded.history) == 1


def test_the_author_is_still_proved() -> None:
    """The inner signature speaks for the author, the outer one for the list."""
    expanded = expand(_encrypt(_sign(MESSAGE)), _list(), NOW, "token")
    assert isinstance(expanded, Expanded)
    unwrapped = unwrap(expanded.message, KeyRing((_own("bob"),)))
    proof = prove(read_header(expanded.message), unwrapped, Trust(NOW, (Anchor.of(_authority().certificate),)))
    assert proof.good, proof.faults
    assert [(each.address, each.role.value) for each in proof.signers] == [
        ("ada@rosewood.test", "from"), ("garden@rosewood.test", "sender")]  # fmt: skip


def test_lists_in_lists_and_loops() -> None:
    """A second list continues the history; the first one refuses its own message."""
    first = _list("garden", ("park",))
    once = expand(_encrypt(_sign(MESSAGE)), first, NOW, "t1")
    assert isinstance(once, Expanded)
    twice = expand(once.message, _list("park", ("garden", "bob")), NOW, "t2")
    assert isinstance(twice, Expanded)
    assert len(twice.history) == 2
    assert _shape(twice.message, "bob") == "SES"
    back = expand(twice.message, first, NOW, "t3")
    assert isinstance(back, Refused)
    assert back.loop


def test_signed_attributes_are_carried_over() -> None:
    """Section 4.2.3.2: all but what the list makes anew."""
    label = labels.attributes(SecurityLabel("1.2.3.4", 1))
    signer = dataclasses.replace(_signer("ada"), attributes=label)
    message = protect.sign_message(_encrypt(MESSAGE), (signer,), NOW, opaque=True, token="t")
    policies = labels.policies_of({"policy": {"house": {"oid": "1.2.3.4", "clearances": {"@rosewood.test": 2}}}})
    expanded = expand(message, _list(label_policies=policies), NOW, "t")
    assert isinstance(expanded, Expanded)
    layer = unwrap(expanded.message, KeyRing((_own("bob"),))).layers[0]
    assert isinstance(layer, SignedLayer)
    attributes = layer.checks[0].signer.signed
    assert labels.labels_of(attributes)[0] == SecurityLabel("1.2.3.4", 1)
    assert len(attributes.all(oids.ML_EXPANSION_HISTORY)) == len(attributes.all(oids.SIGNING_TIME)) == 1
    strict = expand(message, _list(), NOW, "t")
    assert isinstance(strict, Refused)
    assert "policy not known" in strict.reason


def test_a_broken_signature_or_a_stranger_key_stops_it() -> None:
    """What cannot be verified or opened does not go out."""
    clear = protect.sign_message(MESSAGE, (_signer("ada"),), NOW, token="t")
    changed = expand(clear.replace(b"Monday", b"Friday"), _list(), NOW, "t")
    assert isinstance(changed, Refused)
    assert "does not hold" in changed.reason
    stranger = expand(_encrypt(MESSAGE, "bob"), _list(), NOW, "t")
    assert isinstance(stranger, Refused)


def _policy(kind: PolicyKind, *names: str) -> ReceiptPolicy:
    return ReceiptPolicy(kind, tuple((GeneralName.email(name),) for name in names))


A, B = _policy(PolicyKind.INSTEAD_OF, "a@x"), _policy(PolicyKind.IN_ADDITION_TO, "b@x")
NONE = _policy(PolicyKind.NONE)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (None, None, None), (None, NONE, NONE), (NONE, None, NONE), (NONE, A, NONE), (A, NONE, NONE), (A, None, A),
        (None, B, B), (B, A, A), (A, B, _policy(PolicyKind.INSTEAD_OF, "a@x", "b@x")),
        (B, _policy(PolicyKind.IN_ADDITION_TO, "c@x"), _policy(PolicyKind.IN_ADDITION_TO, "b@x", "c@x")),
    ],
)  # fmt: skip
def test_receipt_policies_combine(one, two, expected) -> None:
    """The table of section 4.3."""
    assert combined(one, two) == expected
