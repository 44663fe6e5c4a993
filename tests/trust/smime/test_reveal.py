"""Encryption taken off: what comes out shows and proves what was inside, in every order of layers, and nothing else does."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.formats.imf.header import read_header
from letterlock.trust.smime import labels, protect, reveal
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.labels import LabelRules, may_read_layers, rules_of
from letterlock.trust.smime.proof import verify_message
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, unwrap
from trust.smime.conftest import NOW, People

MESSAGE = (
    b"From: Ada <ada@rosewood.test>\r\nTo: bob@rosewood.test\r\nSubject: Plans\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
)
PEOPLE = People()


def signed(octets: bytes, *, opaque: bool) -> bytes:
    return protect.sign_message(
        octets, (PEOPLE.named("ada").signer,), NOW, opaque=opaque, protect_header=True, token="s"
    )


def encrypted(octets: bytes, cipher: str = oids.AES256_GCM) -> bytes:
    return protect.encrypt_message(octets, (To(PEOPLE.named("bob").certificate),), cipher=cipher, protect_header=True)


LAYERS = {
    "clear": lambda octets: signed(octets, opaque=False),
    "opaque": lambda octets: signed(octets, opaque=True),
    "gcm": encrypted,
    "cbc": lambda octets: encrypted(octets, oids.AES256_CBC),
    "zip": protect.compress_message,
}


def made(*names: str) -> bytes:
    """A message with layers, the first the outermost."""
    octets = MESSAGE
    for name in reversed(names):
        octets = LAYERS[name](octets)
    return octets


@pytest.mark.parametrize(
    "names",
    [("gcm",), ("gcm", "clear"), ("gcm", "opaque"), ("cbc", "opaque"), ("clear", "gcm", "opaque"), ("opaque", "cbc", "clear"),
     ("gcm", "zip", "opaque"), ("gcm", "opaque", "zip"), ("gcm", "gcm", "clear"), ("gcm", "clear", "opaque")],
)  # fmt: skip
def test_every_order(names: tuple[str, ...]) -> None:
    """The text is there, the subject is, no encryption is, and an author's signature still proves the author."""
    octets = made(*names)
    unwrapped = unwrap(octets, PEOPLE.named("bob").ring)
    reveal.check_unchanged(unwrapped)
    out = reveal.revealed(octets, unwrapped, "fresh")
    header = read_header(out)
    assert header.text("subject") == "Plans"
    for name in ("from", "to", "subject", "mime-version", "content-type"):
        assert len(header.get_all(name)) == 1
    again = unwrap(out)
    assert not again.fault
    assert not any(isinstance(layer, EncryptedLayer) for layer in again.layers)
    assert b"Gr\xc3\xbc\xc3\x9fe" in again.content or b"Gr=C3=BC=C3=9Fe" in again.content
    author = "clear" in names[names.index("gcm" if "gcm" in names else "cbc") :] or "opaque" in names[1:]
    assert verify_message(out, again, PEOPLE.trust()).good is author


def test_what_may_have_been_changed_is_not_opened() -> None:
    """CBC with no signature, and with one that only stands around it."""
    for names in (("cbc",), ("clear", "cbc"), ("gcm", "cbc")):
        with pytest.raises(NotAuthentic, match="does not show changes"):
            reveal.check_unchanged(unwrap(made(*names), PEOPLE.named("bob").ring))


def test_without_a_key_nothing_comes_out() -> None:
    """And what is not encrypted is not for this."""
    with pytest.raises(NotAuthentic):
        reveal.revealed(made("gcm"), unwrap(made("gcm"), PEOPLE.named("ada").ring), "t")
    with pytest.raises(NotAuthentic):
        reveal.revealed(made("clear"), unwrap(made("clear")), "t")


_SAMPLES = [made("gcm", "opaque"), made("clear", "cbc", "clear"), made("gcm", "zip", "clear")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(_SAMPLES),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_damage_raises_nothing_strange(sample: bytes, changes: list[tuple[int, bytes]]) -> None:
    """Whatever is changed: a message, or one of the two errors; and labels of the layers can be judged."""
    octets = bytearray(sample)
    for where, what in changes:
        at = where % len(octets)
        octets[at : at + len(what)] = what
    unwrapped = unwrap(bytes(octets), PEOPLE.named("bob").ring)
    assert isinstance(may_read_layers(unwrapped.layers, "bob@rosewood.test", LabelRules()).allowed, bool)
    try:
        reveal.check_unchanged(unwrapped)
        assert reveal.revealed(bytes(octets), unwrapped, "t")
    except (NotAuthentic, Malformed):
        pass


RULES = rules_of({
    "unknown": "deliver",
    "policy": {"house": {"oid": "1.2.3", "clearances": {"bob@rosewood.test": 2}},
               "soft": {"oid": "1.2.4", "beyond": "deliver", "clearances": {}}},
})  # fmt: skip


def labelled(*found: SecurityLabel, equivalent: tuple[SecurityLabel, ...] = ()) -> bytes:
    octets = MESSAGE
    for label in found:
        attributes = labels.attributes(label, equivalent)
        signer = dataclasses.replace(PEOPLE.named("ada").signer, attributes=attributes)
        octets = protect.sign_message(octets, (signer,), NOW, opaque=True, token="l")
    return octets


@pytest.mark.parametrize(
    ("octets", "allowed", "refused"),
    [
        (MESSAGE, True, False),
        (labelled(SecurityLabel("1.2.3", 2)), True, False),
        (labelled(SecurityLabel("1.2.3", 3)), False, True),
        (labelled(SecurityLabel("1.2.4", 1)), False, False),
        (labelled(SecurityLabel("9.9.9", 0)), False, False),
        (labelled(SecurityLabel("1.2.3", 1), SecurityLabel("1.2.3", 3)), False, True),  # every layer counts
        (labelled(SecurityLabel("9.9.9", 5), equivalent=(SecurityLabel("1.2.3", 1),)), True, False),
    ],
)
def test_labels_of_all_layers(octets: bytes, allowed: bool, refused: bool) -> None:
    """Bob is cleared for 2 under the house's policy, and for nothing else."""
    reading = may_read_layers(unwrap(octets).layers, "bob@rosewood.test", RULES)
    assert (reading.allowed, reading.refused) == (allowed, refused), reading.reason


def test_a_spoilt_signature_lifts_no_label() -> None:
    """It restricts as before, and what it equates counts no more."""
    for label, equivalent in (
        (SecurityLabel("1.2.3", 3), ()),
        (SecurityLabel("9.9.9", 5), (SecurityLabel("1.2.3", 1),)),
    ):
        layers = unwrap(labelled(label, equivalent=equivalent)).layers
        (layer,) = layers
        assert isinstance(layer, SignedLayer)
        spoilt = dataclasses.replace(
            layer, checks=tuple(msgspec.structs.replace(each, fault="changed") for each in layer.checks)
        )
        assert not may_read_layers((spoilt,), "bob@rosewood.test", RULES).allowed


@pytest.mark.parametrize(
    "value", [{}, {"policy": {}, "unknown": "maybe"}, {"policy": {"x": {"oid": "1.2", "beyond": 3}}}, []]
)
def test_rules_that_are_wrong_are_named(value: object) -> None:
    """A file nobody meant so is no policy."""
    from letterlock.errors import SettingsFault

    with pytest.raises(SettingsFault):
        rules_of(value)
