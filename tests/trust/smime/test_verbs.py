"""Signing, verifying, encrypting, decrypting and compressing octets."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import content, signed
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.compressed import CompressedData
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.trust.primitives.ciphers import FAILED
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime import decrypt as opening
from letterlock.trust.smime.compress import compress, expand
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To, ToPassword, ToSharedKey, encrypt, recipient_infos
from letterlock.trust.smime.sign import Signer, countersign, sign
from letterlock.trust.smime.unwrap import unwrap_cms
from letterlock.trust.smime.verify import verify

KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448")
CIPHERS = (oids.AES128_GCM, oids.AES192_GCM, oids.AES256_GCM, oids.AES128_CBC, oids.AES192_CBC, oids.AES256_CBC,
           oids.AES128_CCM, oids.AES256_CCM, oids.CHACHA20_POLY1305)  # fmt: skip
OCTETS = b"One octet after the other.\r\n" * 20


def _parse(cms: bytes) -> SignedData:
    content_type, element = content.parse(cms)
    assert content_type == oids.SIGNED_DATA
    return SignedData.parse(element)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("options", [{}, {"by_key_id": True}, {"with_attributes": False}, {"digest": oids.SHA512}])
def test_what_is_signed_verifies(people, kind: str, detached: bool, options: dict[str, object]) -> None:
    """Every kind of key, inside and outside, named both ways, with and without attributes."""
    signer = dataclasses.replace(people.named("ada", kind).signer, **options)
    parsed = _parse(sign(OCTETS, (signer,), people.now, detached=detached))
    (check,) = verify(parsed, OCTETS if detached else None)
    assert check.fault == ""
    assert check.certificate == people.named("ada", kind).certificate
    (changed,) = verify(_parse(sign(OCTETS, (signer,), people.now, detached=True)), OCTETS + b" ")
    assert not changed.good


@pytest.mark.parametrize("digest", [oids.SHA256, oids.SHA384, oids.SHA512])
def test_pss(people, digest: str) -> None:
    """RSASSA-PSS with the digest's length of salt (RFC 4056)."""
    signer = dataclasses.replace(people.named("ada", "rsa2048").signer, pss=True, digest=digest)
    (check,) = verify(_parse(sign(OCTETS, (signer,), people.now)))
    assert (check.fault, check.scheme[:7]) == ("", "RSA-PSS")


def test_several_signers_and_counter_signatures(people) -> None:
    """All are checked, each on its own."""
    ada, bob = people.named("ada").signer, people.named("bob", "rsa2048").signer
    parsed = _parse(sign(OCTETS, (ada, bob), people.now))
    assert [check.good for check in verify(parsed)] == [True, True]
    countered = tuple(countersign(info, bob, people.now) for info in parsed.signers)
    again = signed.encode(oids.DATA, OCTETS, countered, parsed.certificates)
    for check in verify(_parse(again)):
        assert [counter.fault for counter in check.counter_signatures] == [""]
    broken = msgspec.structs.replace(countered[0], signature=countered[1].signature)
    (check,) = verify(_parse(signed.encode(oids.DATA, OCTETS, (broken,), parsed.certificates)))
    assert [counter.good for counter in check.counter_signatures] == [False]


def test_a_key_of_another_certificate_does_not_sign(people) -> None:
    """The key must be the certificate's."""
    with pytest.raises(OurFault):
        sign(OCTETS, (Signer(people.named("ada").key, people.named("bob").certificate),), people.now)


def test_attributes_are_no_content(people) -> None:
    """A signature over attributes does not pass as one over content made of the same octets."""
    info = _parse(sign(OCTETS, (people.named("ada").signer,), people.now)).signers[0]
    assert info.signed_octets is not None
    twisted = msgspec.structs.replace(info, signed_octets=None)
    made = signed.encode(oids.DATA, info.signed_octets, (twisted,), (people.named("ada").certificate.octets,))
    (check,) = verify(_parse(made))
    assert "attributes of another signature" in check.fault


def _with_attributes(people, change) -> str:
    """Return the fault of a signature whose signed attributes `change` turned into others, signed anew."""
    from letterlock.trust.primitives import signatures

    ada = people.named("ada")
    info = _parse(sign(OCTETS, (ada.signer,), people.now)).signers[0]
    attributes = Attributes(tuple(change(info.signed.items)))
    covered = attributes.encode()
    signature = signatures.sign(ada.key, ada.signer.scheme, covered)
    changed = msgspec.structs.replace(info, signed=attributes, signed_octets=covered, signature=signature)
    (check,) = verify(_parse(signed.encode(oids.DATA, OCTETS, (changed,), (ada.certificate.octets,))))
    return check.fault


@pytest.mark.parametrize(
    ("oid", "value", "fault"),
    [
        (oids.CONTENT_TYPE, writer.oid(oids.RECEIPT), "another content type"),
        (oids.MESSAGE_DIGEST, writer.octet_string(bytes(32)), "content was changed"),
        (oids.ALGORITHM_PROTECTION, writer.sequence(writer.sequence(writer.oid(oids.SHA512))), "digest algorithm"),
        (oids.SIGNING_CERTIFICATE_V2, writer.sequence(writer.sequence(writer.sequence(writer.octet_string(bytes(32))))),
         "not the one the signature names"),
    ],
)  # fmt: skip
def test_attributes_that_contradict_are_refused(people, oid: str, value: bytes, fault: str) -> None:
    """Each signed attribute is enforced, even when the signer itself signed nonsense."""
    swap = lambda items: [Attribute.of(oid, value) if item.type == oid else item for item in items]  # noqa: E731
    assert fault in _with_attributes(people, swap)


def test_attributes_stand_once(people) -> None:
    """RFC 5652 section 11: a second message digest makes the signature ambiguous."""
    twice = lambda items: [*items, Attribute.of(oids.MESSAGE_DIGEST, writer.octet_string(bytes(32)))]  # noqa: E731
    assert "more than once" in _with_attributes(people, twice)
    none = lambda items: [item for item in items if item.type != oids.MESSAGE_DIGEST]  # noqa: E731
    assert "lack the message digest" in _with_attributes(people, none)


@pytest.mark.parametrize(
    ("kind", "cipher"), [*itertools.product(("rsa2048", "p256", "x25519"), CIPHERS),
                         *itertools.product(("p384", "p521", "x448", "dh2048"), (oids.AES256_GCM, oids.AES128_CBC))]
)  # fmt: skip
def test_what_is_encrypted_opens(people, kind: str, cipher: str) -> None:
    """Every kind of key with every cipher; any changed octet of the cipher text is noticed, or the padding is."""
    bob, eve = people.named("bob", kind), people.named("eve", kind)
    cms = encrypt(OCTETS, (To(eve.certificate), To(bob.certificate)), cipher=cipher)
    enveloped = EnvelopedData.parse(*content.parse(cms))
    for person in (bob, eve):
        opened = opening.decrypt(enveloped, person.ring)
        assert (opened.content, opened.authenticated) == (OCTETS, cipher in oids.AUTHENTICATED_CIPHERS)
    assert opening.decrypt(enveloped, KeyRing((Own(bob.key),))).content == OCTETS  # without a certificate: all tried
    with pytest.raises(NotAuthentic):
        opening.decrypt(enveloped, people.named("mallory", kind).ring)


@pytest.mark.parametrize("cipher", [oids.AES256_GCM, oids.AES128_CBC, oids.AES256_CCM])
@pytest.mark.parametrize("content_type", [oids.DATA, oids.SIGNED_DATA])
def test_large_content_is_encrypted_in_place(people, cipher: str, content_type: str) -> None:
    """Content above the size from which cipher text is made in place opens as any other, its type authenticated."""
    bob = people.named("bob", "rsa2048")
    octets = bytes(range(256)) * 1025 + b"odd"
    sealed = encrypt(octets, (To(bob.certificate),), cipher=cipher, content_type=content_type)
    opened = opening.decrypt(EnvelopedData.parse(*content.parse(sealed)), KeyRing((Own(bob.key, bob.certificate),)))
    assert (opened.content, opened.content_type) == (octets, content_type)


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_changes_give_one_and_the_same_answer(people, kind: str) -> None:
    """GCM text, its tag, its recipients: whoever changes them learns only that it failed."""
    bob = people.named("bob", kind)
    cms = encrypt(OCTETS, (To(bob.certificate),))
    enveloped = EnvelopedData.parse(*content.parse(cms))
    assert enveloped.content is not None
    places = [enveloped.content.content + 3, len(cms) - 3]
    if kind == "rsa2048":
        places.append(cms.index(enveloped.recipients[0].encrypted_key) + 40)
    for place in places:
        changed = bytearray(cms)
        changed[place] ^= 1
        with pytest.raises(NotAuthentic, match=FAILED):
            opening.decrypt(EnvelopedData.parse(*content.parse(bytes(changed))), bob.ring)


def test_a_gcm_message_does_not_pass_as_cbc(people) -> None:
    """AuthEnvelopedData rewritten as EnvelopedData is refused before anything is decrypted (RFC 9709)."""
    bob = people.named("bob")
    parsed = EnvelopedData.parse(*content.parse(encrypt(OCTETS, (To(bob.certificate),))))
    twisted = msgspec.structs.replace(parsed, content_info_type=oids.ENVELOPED_DATA)
    with pytest.raises(Malformed):
        opening.decrypt(twisted, bob.ring)


def test_oaep_passwords_and_shared_keys(people) -> None:
    """The other ways a content key travels."""
    bob = people.named("bob", "rsa2048")
    for oaep in (Oaep(), Oaep(oids.SHA512, oids.SHA512), Oaep(oids.SHA1, oids.SHA1)):
        cms = encrypt(OCTETS, (To(bob.certificate, oaep),))
        assert opening.decrypt(EnvelopedData.parse(*content.parse(cms)), bob.ring).content == OCTETS
    both = encrypt(OCTETS, (ToPassword(b"tulip"), ToSharedKey(b"k1", bytes(32))))
    enveloped = EnvelopedData.parse(*content.parse(both))
    assert opening.decrypt(enveloped, KeyRing(passwords=(b"rose", b"tulip"))).content == OCTETS
    assert opening.decrypt(enveloped, KeyRing(shared={b"k1": bytes(32)})).content == OCTETS
    for ring in (KeyRing(passwords=(b"rose",)), KeyRing(shared={b"k1": bytes(31) + b"x"}), KeyRing()):
        with pytest.raises(NotAuthentic):
            opening.decrypt(enveloped, ring)


@pytest.mark.parametrize("cipher", [oids.DES3_CBC, oids.RC2_CBC, f"{oids.RC2_CBC}/64", f"{oids.RC2_CBC}/40"])
def test_legacy_ciphers_are_written_only_by_name(people, cipher: str) -> None:
    """Triple-DES and RC2 need the legacy setting."""
    bob = people.named("bob", "rsa2048")
    with pytest.raises(OurFault):
        encrypt(OCTETS, (To(bob.certificate),), cipher=cipher)
    if "/" in cipher:  # RFC 3394 wraps no key as short as that
        with pytest.raises(OurFault, match="goes to RSA keys and passwords alone"):
            encrypt(OCTETS, (To(people.named("ada").certificate),), cipher=cipher, legacy=True)
    cms = encrypt(OCTETS, (To(bob.certificate),), cipher=cipher, legacy=True)
    assert opening.decrypt(EnvelopedData.parse(*content.parse(cms)), bob.ring).content == OCTETS


@given(st.binary(max_size=2000))
def test_compression_round_trips(octets: bytes) -> None:
    """RFC 3274."""
    content_type, element = content.parse(compress(octets))
    assert content_type == oids.COMPRESSED_DATA
    assert expand(CompressedData.parse(element)) == octets


def test_a_bomb_is_refused() -> None:
    """What expands beyond the limit stops there."""
    _type, element = content.parse(compress(bytes(10_000_000)))
    with pytest.raises(Malformed, match="expands to more"):
        expand(CompressedData.parse(element), limit=1_000_000)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_messages_raise_nothing(people, data) -> None:
    """Octets changed, cut or doubled give layers with faults, or a fault of the whole, never another error."""
    bob = people.named("bob")
    signed_source, sealed_source = people.remembered("damage", lambda: _sources(people))
    source = sealed_source if data.draw(st.booleans()) else signed_source
    whole = bytearray(source)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["change", "cut", "double"])):
            case "change":
                whole[at] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[at : at + data.draw(st.integers(1, 40))]
            case _:
                whole[at:at] = whole[at : at + 20]
        if not whole:
            return
    unwrap_cms(bytes(whole), bob.ring)


def _sources(people) -> tuple[bytes, bytes]:
    inner = sign(OCTETS, (people.named("ada").signer,), people.now)
    return inner, encrypt(inner, (To(people.named("bob").certificate),))


def _authenticated(people, content_octets: bytes, mac_of: bytes, *, attributes: bool) -> bytes:
    """Return AuthenticatedData with the code of `mac_of`; the project itself does not write it."""
    key = bytes(range(32))
    infos = recipient_infos((To(people.named("bob").certificate),), key)
    sha256 = AlgorithmIdentifier(oids.SHA256).encode()
    covered, more = mac_of, ()
    if attributes:
        named = Attributes((
            Attribute.of(oids.CONTENT_TYPE, writer.oid(oids.DATA)),
            Attribute.of(oids.MESSAGE_DIGEST, writer.octet_string(hashlib.sha256(mac_of).digest())),
        ))  # fmt: skip
        covered = named.encode()
        more = (writer.implicit(2, covered),)
    body = writer.sequence(
        writer.integer(0), writer.set_of(info.encode() for info in infos), AlgorithmIdentifier(oids.HMAC_SHA256).encode(),
        writer.implicit(1, sha256) if attributes else b"",
        writer.sequence(writer.oid(oids.DATA), writer.explicit(0, writer.octet_string(content_octets))), *more,
        writer.octet_string(hmac.new(key, covered, "sha256").digest()),
    )  # fmt: skip
    return content.encode(oids.AUTHENTICATED_DATA, body)


@pytest.mark.parametrize("attributes", [False, True])
def test_authenticated_data_is_read(people, attributes: bool) -> None:
    """RFC 5652 section 9: the code over content or attributes fits, or nothing comes out."""
    bob = people.named("bob")
    good = unwrap_cms(_authenticated(people, OCTETS, OCTETS, attributes=attributes), bob.ring)
    assert (good.fault, good.content, len(good.layers)) == ("", OCTETS, 1)
    bad = unwrap_cms(_authenticated(people, OCTETS, b"other", attributes=attributes), bob.ring)
    assert "content was changed" in bad.fault
    stranger = unwrap_cms(_authenticated(people, OCTETS, OCTETS, attributes=attributes), people.named("eve").ring)
    assert "none of the keys" in stranger.fault


@pytest.mark.parametrize(
    ("kind", "digest"), [("rsa2048", "SHA-256"), ("p256", "SHA-256"), ("p384", "SHA-384"), ("p521", "SHA-512")]
)
def test_the_digest_is_as_strong_as_the_key(people, kind: str, digest: str) -> None:
    """RFC 5480 section 4; one that is asked for by name is used all the same."""
    signer = people.named("ada", kind).signer
    for chosen, expected in ((signer, digest), (dataclasses.replace(signer, digest=oids.SHA256), "SHA-256")):
        (check,) = verify(SignedData.parse(content.parse(sign(OCTETS, (chosen,), people.now))[1]))
        assert (check.good, check.digest) == (True, expected)
