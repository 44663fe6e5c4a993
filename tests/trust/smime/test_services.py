"""Receipts, labels, multiple signatures, and the choice of a cipher."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from letterlock.errors import NotAuthentic, SettingsFault
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms import content, signed
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.capabilities import Capability
from letterlock.formats.cms.capabilities import encode as encode_capabilities
from letterlock.formats.cms.ess import expansion
from letterlock.formats.cms.ess.expansion import Expansion, PolicyKind, ReceiptPolicy
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.formats.cms.identifiers import of
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.x509.name import GeneralName
from letterlock.trust.smime import labels, receipts
from letterlock.trust.smime.capabilities import OURS, Remembered, UsedCipher, ciphers
from letterlock.trust.smime.choose_cipher import Recipient, Rule, Unknown, choose
from letterlock.trust.smime.multiple import missing_signatures, sign_together
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.verify import Check, verify

OCTETS = b"Content-Type: text/plain\r\n\r\nThe garden at nine.\r\n"


def _signed(people, *attributes: Attribute) -> tuple[SignedData, Check]:
    signer = dataclasses.replace(people.named("ada").signer, attributes=attributes)
    parsed = SignedData.parse(content.parse(sign(OCTETS, (signer,), people.now))[1])
    (check,) = verify(parsed)
    assert check.good
    return parsed, check


def test_a_receipt_is_asked_given_and_matched(people) -> None:
    """RFC 2634 sections 2.2 to 2.6, from request to proof."""
    sent, check = _signed(people, receipts.request(b"id-1", "ada@rosewood.test"))
    found = receipts.wanted(check, ("bob@rosewood.test",))
    assert (found.send, found.addresses) == (True, ("ada@rosewood.test",))
    made = receipts.make(check, oids.DATA, people.named("bob", "rsa2048").signer, people.now)
    receipt = SignedData.parse(content.parse(made)[1])
    (receipt_check,) = verify(receipt)
    receipts.match(receipt, receipt_check, sent.signers[0])
    other, _check = _signed(people, receipts.request(b"id-2", "ada@rosewood.test"))
    again, _check = _signed(people, receipts.request(b"id-1", "ada@rosewood.test"))
    for wrong, reason in ((other, "another message"), (again, "another signature")):
        with pytest.raises(NotAuthentic, match=reason):
            receipts.match(receipt, receipt_check, wrong.signers[0])
    with pytest.raises(NotAuthentic, match="does not hold"):
        receipts.match(receipt, msgspec.structs.replace(receipt_check, fault="changed"), sent.signers[0])


@pytest.mark.parametrize(
    ("who", "policy", "first_tier", "expected"),
    [
        ((), None, False, "ada@rosewood.test"),
        (("bob@Rosewood.Test",), None, False, "ada@rosewood.test"),
        (("carol@rosewood.test",), None, False, ""),
        ((), None, True, ""),
        ((), ReceiptPolicy(PolicyKind.NONE), False, ""),
        ((), ReceiptPolicy(PolicyKind.INSTEAD_OF, ((GeneralName.email("list@x.test"),),)), False, "list@x.test"),
        ((), ReceiptPolicy(PolicyKind.IN_ADDITION_TO, ((GeneralName.email("l@x.test"),),)), False,
         "ada@rosewood.test l@x.test"),
    ],
)  # fmt: skip
def test_who_gives_receipts_to_whom(people, who, policy, first_tier: bool, expected: str) -> None:
    """RFC 2634 section 2.3: the request, then what mail lists say about it (here every message came through one)."""
    _sent, check = _signed(people, receipts.request(b"1", "ada@rosewood.test", who, first_tier_only=first_tier))
    entry = Expansion(of(people.named("list").certificate), people.now, policy)
    value = expansion.encode((entry,))
    assert expansion.parse(reader.parse(value)) == (entry,)
    outer = msgspec.structs.replace(check.signer, signed=Attributes((Attribute.of(oids.ML_EXPANSION_HISTORY, value),)))
    found = receipts.wanted(check, ("bob@rosewood.test",), outer)
    assert " ".join(found.addresses) == expected
    assert found.send is bool(expected)


def test_no_receipt_for_a_bad_signature(people) -> None:
    """A receipt says that the signature was verified."""
    _sent, check = _signed(people, receipts.request(b"1", "ada@rosewood.test"))
    bad = msgspec.structs.replace(check, fault="changed")
    assert not receipts.wanted(bad, ()).send
    with pytest.raises(NotAuthentic):
        receipts.make(bad, oids.DATA, people.named("bob").signer, people.now)


POLICIES = labels.policies_of(
    {"policy": {"house": {"oid": "1.2.3.4", "clearances": {
        "bob@rosewood.test": {"classification": 4, "categories": ["1.9.1"]}, "@rosewood.test": 2}}}}
)  # fmt: skip


@pytest.mark.parametrize(
    ("label", "reader_address", "allowed"),
    [
        (SecurityLabel("1.2.3.4", 2), "eve@rosewood.test", True),
        (SecurityLabel("1.2.3.4", 3), "eve@rosewood.test", False),
        (SecurityLabel("1.2.3.4", 4, "eyes only"), "Bob@Rosewood.Test", True),
        (SecurityLabel("1.2.3.4", 4), "bob@elsewhere.test", False),
        (SecurityLabel("1.2.3.4", 1, "", (("1.9.1", writer.null()),)), "bob@rosewood.test", True),
        (SecurityLabel("1.2.3.4", 1, "", (("1.9.2", writer.null()),)), "bob@rosewood.test", False),
        (SecurityLabel("1.2.3.5", 1), "bob@rosewood.test", False),
    ],
)
def test_labels_are_enforced(people, label: SecurityLabel, reader_address: str, allowed: bool) -> None:
    """RFC 2634 section 3: classification, categories, and policies nobody knows."""
    _sent, check = _signed(people, *labels.attributes(label))
    assert labels.labels_of(check.signer.signed)[0] == label
    reading = labels.may_read((check.signer.signed,), reader_address, POLICIES)
    assert reading.allowed is allowed, reading.reason


def test_equivalent_labels_and_contradicting_ones(people) -> None:
    """An equivalent under a known policy counts; two labels that differ forbid."""
    foreign, known = SecurityLabel("1.2.3.5", 9), SecurityLabel("1.2.3.4", 2)
    _sent, check = _signed(people, *labels.attributes(foreign, (known,)))
    _sent, other = _signed(people, *labels.attributes(known))
    assert labels.may_read((check.signer.signed,), "eve@rosewood.test", POLICIES).allowed
    both = (check.signer.signed, other.signer.signed)
    assert "different" in labels.may_read(both, "eve@rosewood.test", POLICIES).reason


def test_a_policy_file_names_its_mistakes() -> None:
    """Every mistake at once."""
    with pytest.raises(SettingsFault) as caught:
        labels.policies_of({"policy": {"a": {}, "b": {"oid": "1.2", "clearances": {"x@y": "high"}}}})
    assert len(caught.value.problems) == 2


def test_signatures_that_hold_together(people) -> None:
    """RFC 5752: taking one of two away is noticed, and so is changing it."""
    signers = (people.named("ada", "p256").signer, people.named("ada", "rsa2048").signer)
    signers = (signers[0], dataclasses.replace(signers[1], digest=oids.SHA512))
    parsed = SignedData.parse(content.parse(sign_together(OCTETS, signers, people.now))[1])
    checks = verify(parsed)
    assert [check.fault for check in checks] == ["", ""]
    assert missing_signatures(checks) == ""
    for index in (0, 1):
        alone = signed.encode(oids.DATA, OCTETS, (parsed.signers[index],), parsed.certificates)
        left = verify(SignedData.parse(content.parse(alone)[1]))
        assert left[0].good
        assert "taken away" in missing_signatures(left)


def _recipient(people, name: str, kind: str, *oid: str, last: str = "") -> Recipient:
    address = f"{name}@rosewood.test"
    announced = Remembered(address, tuple(Capability(each) for each in oid), people.now) if oid else None
    used = UsedCipher(address, last, people.now) if last else None
    return Recipient(address, people.named(name, kind).certificate, announced, used)


def test_the_rules_of_choosing(people) -> None:
    """RFC 8551 section 2.7.1, one rule after the other."""
    known = choose([_recipient(people, "bob", "rsa2048", oids.DES3_CBC, oids.AES192_CBC, oids.AES256_GCM)])
    assert [(group.cipher, group.rule) for group in known.groups] == [(oids.AES192_CBC, Rule.KNOWN_CAPABILITIES)]
    mixed = choose([_recipient(people, "bob", "rsa2048", oids.DES3_CBC, oids.AES192_CBC)], legacy=True)
    assert [(group.cipher, group.rule) for group in mixed.groups] == [(oids.AES192_CBC, Rule.KNOWN_CAPABILITIES)]
    used = choose([_recipient(people, "bob", "rsa2048", last=oids.AES256_CBC)])
    (member,) = used.groups[0].members
    assert (
        member.reason
        == f"bob@rosewood.test announced nothing, and wrote in it last, in mail signed on {people.now:%Y-%m-%d}"
    )
    assert [(group.cipher, group.rule) for group in used.groups] == [(oids.AES256_CBC, Rule.KNOWN_USE)]
    unknown = choose([_recipient(people, "bob", "rsa2048")])
    assert [(group.cipher, group.rule) for group in unknown.groups] == [(oids.AES128_CBC, Rule.UNKNOWN)]
    modern = choose([_recipient(people, "bob", "p256")])
    assert [group.cipher for group in modern.groups] == [oids.AES256_GCM]
    assert not any(choice.needs_consent for choice in (known, used, unknown, modern))


@pytest.mark.parametrize(
    ("kind", "unknown", "cipher"),
    [
        ("p256", Unknown.BY_KEY, oids.AES256_GCM),
        ("p256", Unknown.CBC, oids.AES128_CBC),
        ("rsa2048", Unknown.BY_KEY, oids.AES128_CBC),
        ("rsa2048", Unknown.GCM, oids.AES256_GCM),
    ],
)
def test_of_whom_nothing_is_known(people, kind: str, unknown: Unknown, cipher: str) -> None:
    """RFC 8551 section 2.7.1.2: AES-256 in GCM, or AES-128 in CBC, as the user decides; one who is known is not asked for."""
    (group,) = choose([_recipient(people, "bob", kind)], unknown=unknown).groups
    assert (group.cipher, group.rule) == (cipher, Rule.UNKNOWN)
    (group,) = choose([_recipient(people, "bob", kind, oids.AES192_CBC)], unknown=unknown).groups
    assert (group.cipher, group.rule) == (oids.AES192_CBC, Rule.KNOWN_CAPABILITIES)


def test_what_a_certificate_says_its_holder_reads(people) -> None:
    """RFC 4262: known before anybody wrote; what a message announced counts before it, garbage not at all."""
    bob = people.named("bob", "rsa2048").certificate

    def saying(encoded: bytes) -> Recipient:
        extensions = msgspec.structs.replace(bob.extensions, smime_capabilities=encoded)
        return Recipient("bob@rosewood.test", msgspec.structs.replace(bob, extensions=extensions))

    says = saying(encode_capabilities((Capability(oids.AES256_GCM), Capability(oids.AES128_CBC))))
    (group,) = choose([says]).groups
    assert (group.cipher, group.rule) == (oids.AES256_GCM, Rule.KNOWN_CAPABILITIES)
    assert [member.reason for member in group.members] == ["the certificate of bob@rosewood.test says so"]
    announced = Remembered("bob@rosewood.test", (Capability(oids.AES192_CBC),), people.now)
    (group,) = choose([dataclasses.replace(says, announced=announced)]).groups
    assert group.cipher == oids.AES192_CBC
    for nothing in (b"\x05\x00", encode_capabilities((Capability(oids.ZLIB),))):
        assert choose([saying(nothing)]).groups[0].rule is Rule.UNKNOWN


def test_weak_ciphers_need_the_legacy_setting_and_consent(people) -> None:
    """Triple-DES alone: refused; with the legacy setting a second, named copy that somebody must accept."""
    people_known = [_recipient(people, "bob", "p256"), _recipient(people, "old", "rsa2048", oids.DES3_CBC)]
    strict = choose(people_known)
    reason = "old@rosewood.test reads only Triple-DES-CBC, which is written only with the legacy setting"
    assert (strict.refused, len(strict.groups), strict.needs_consent) == ({"old@rosewood.test": reason}, 1, False)
    legacy = choose(people_known, legacy=True)
    assert [(group.cipher, group.is_weak) for group in legacy.groups] == [
        (oids.AES256_GCM, False), (oids.DES3_CBC, True)]  # fmt: skip
    assert legacy.needs_consent


def test_all_get_one_message_where_they_can(people) -> None:
    """The cipher that serves all, though one of them prefers another."""
    choice = choose([
        _recipient(people, "bob", "p256", oids.AES256_GCM, oids.AES128_CBC), _recipient(people, "eve", "rsa2048"),
    ])  # fmt: skip
    assert [(group.cipher, len(group.addresses)) for group in choice.groups] == [(oids.AES128_CBC, 2)]


def test_keys_are_bound_for_those_who_all_can_read_it(people) -> None:
    """RFC 9709 section 4: announced by everybody who gets the message, ourselves among them."""
    able = _recipient(people, "bob", "p256", *(capability.oid for capability in OURS))
    unable = _recipient(people, "eve", "p256", oids.AES256_GCM)
    assert [choose(to).groups[0].bind_key for to in ([able], [able, unable], [unable])] == [True, False, False]


def test_capabilities_are_remembered_by_their_time(people) -> None:
    """An older announcement does not replace a newer one."""
    old = Remembered("a@b", OURS, people.now)
    new = Remembered("a@b", (), people.now.replace(year=2027))
    assert old.renewed_by(new) is new
    assert new.renewed_by(old) is new
    assert ciphers(OURS)[0] == oids.AES256_GCM
    rc2 = Capability(oids.RC2_CBC, writer.integer(40))
    assert ciphers((rc2,)) == (f"{oids.RC2_CBC}/40",)
