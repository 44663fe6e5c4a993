"""Content in pieces, both ways, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms import content
from letterlock.formats.cms import signed as signed_format
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.trust.smime import decrypt as opening
from letterlock.trust.smime import encrypt as sealing
from letterlock.trust.smime import sign as signing
from letterlock.trust.smime import stream
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.unwrap import unwrap
from letterlock.trust.smime.verify import verify

OCTETS = bytes(range(256)) * 700


def _cut(octets: bytes, size: int) -> Iterator[bytes]:
    return (octets[at : at + size] for at in range(0, len(octets), size))


@pytest.mark.parametrize("kind", ["p256", "rsa2048", "ed25519"])
@pytest.mark.parametrize("size", [999, 70_000])
def test_signed_in_pieces(people, kind: str, size: int) -> None:
    """What is signed in pieces verifies whole, and what is signed whole verifies in pieces."""
    signer = people.named("ada", kind).signer
    made = b"".join(stream.sign(_cut(OCTETS, size), (signer,), people.now))
    parsed = SignedData.parse(content.parse(made)[1])
    assert [check.fault for check in verify(parsed)] == [""]
    for source in (made, signing.sign(OCTETS, (signer,), people.now)):
        taken: list[bytes] = []
        verified = stream.verify(_cut(source, size), taken.append)
        assert [check.fault for check in verified.checks] == [""]
        assert b"".join(taken) == OCTETS
        changed = bytearray(source)
        changed[source.index(OCTETS[:200]) + 100] ^= 1
        assert not stream.verify(_cut(bytes(changed), size), lambda _piece: None).checks[0].good


def test_detached_in_pieces(people) -> None:
    """The content beside the signature; not both, not neither."""
    signer = people.named("ada").signer
    made = b"".join(stream.sign(_cut(OCTETS, 5000), (signer,), people.now, detached=True))
    assert stream.verify([made], lambda _piece: None, detached=_cut(OCTETS, 77)).checks[0].good
    with pytest.raises(Malformed):
        stream.verify([made], lambda _piece: None)


@pytest.mark.parametrize("cipher", [oids.AES256_GCM, oids.AES128_CBC])
@pytest.mark.parametrize("size", [333, 70_000])
def test_encrypted_in_pieces(people, cipher: str, size: int) -> None:
    """Both ways against the verbs that have everything in memory."""
    bob = people.named("bob", "rsa2048")
    made = b"".join(stream.encrypt(_cut(OCTETS, size), (To(bob.certificate),), cipher=cipher))
    assert opening.decrypt(EnvelopedData.parse(*content.parse(made)), bob.ring).content == OCTETS
    for source in (made, sealing.encrypt(OCTETS, (To(bob.certificate),), cipher=cipher)):
        taken: list[bytes] = []
        stream.decrypt(_cut(source, size), bob.ring, taken.append)
        assert b"".join(taken) == OCTETS
        changed = bytearray(source)
        changed[-20 if cipher == oids.AES256_GCM else -30] ^= 1
        with pytest.raises((NotAuthentic, Malformed)):
            stream.decrypt(_cut(bytes(changed), size), bob.ring, lambda _piece: None)
    with pytest.raises(NotAuthentic):
        stream.decrypt([made], people.named("eve", "rsa2048").ring, lambda _piece: None)


@pytest.mark.parametrize("size", [333, 70_000])
@pytest.mark.parametrize("content_type", [oids.DATA, oids.SIGNED_DATA, oids.COMPRESSED_DATA])
@pytest.mark.parametrize("bind_key", [False, True])
def test_authenticated_attributes_in_pieces(people, size: int, content_type: str, bind_key: bool) -> None:
    """Attributes stand behind the content they are authenticated with: read both ways, and no octet of them changes."""
    bob = people.named("bob", "rsa2048")
    options = {"content_type": content_type, "bind_key": bind_key}
    to = (To(bob.certificate),)
    made = b"".join(stream.encrypt(_cut(OCTETS, size), to, **options))  # type: ignore[arg-type]
    opened = opening.decrypt(EnvelopedData.parse(*content.parse(made)), bob.ring)
    assert (opened.content, opened.content_type) == (OCTETS, content_type)
    whole = sealing.encrypt(OCTETS, to, **options)  # type: ignore[arg-type]
    for source in (made, whole):
        taken: list[bytes] = []
        assert stream.decrypt(_cut(source, size), bob.ring, taken.append).content_type == content_type
        assert b"".join(taken) == OCTETS
        attributes = EnvelopedData.parse(*content.parse(source)).authenticated_octets[1:]
        assert bool(attributes) is (content_type != oids.DATA)
        if attributes:
            at = source.rindex(attributes) + len(attributes) - 1  # the last arc of the content type
            changed = source[:at] + bytes((source[at] ^ 1,)) + source[at + 1 :]
            with pytest.raises(NotAuthentic):
                stream.decrypt(_cut(changed, size), bob.ring, lambda _piece: None)


def test_a_cipher_bound_to_its_key_is_not_replaced(people) -> None:
    """RFC 9709: another cipher named for the same content key gives another key, and the content does not open."""
    bob = people.named("bob", "rsa2048")
    sealed = sealing.encrypt(OCTETS, (To(bob.certificate),), cipher=oids.AES128_CBC, bind_key=True)
    assert writer.oid(oids.CEK_HKDF_SHA256) in sealed
    assert opening.decrypt(EnvelopedData.parse(*content.parse(sealed)), bob.ring).content == OCTETS
    parsed = EnvelopedData.parse(*content.parse(sealed))
    assert parsed.algorithm.parameters is not None
    unbound = AlgorithmIdentifier.parse(reader.parse(parsed.algorithm.parameters))
    with pytest.raises(NotAuthentic):
        opening.decrypt(msgspec.structs.replace(parsed, algorithm=unbound), bob.ring)


def test_messages_in_pieces(people, message: bytes) -> None:
    """A message signed and encrypted in pieces is opened by those who have it whole, and back."""
    bob = people.named("bob")
    signed = b"".join(stream.sign_message(_cut(message, 50), (people.named("ada").signer,), people.now))
    sealed = b"".join(stream.encrypt_message(_cut(signed, 333), (To(bob.certificate),)))
    unwrapped = unwrap(sealed, bob.ring)
    assert unwrapped.fault == ""
    assert unwrapped.content.endswith(b"From here on\r\n")
    header, cms = stream.cms_of_message(_cut(sealed, 100))
    taken: list[bytes] = []
    stream.decrypt(cms, bob.ring, taken.append)
    assert header.text("subject") == "Secret plans"
    assert b"".join(taken).startswith(b"Content-Type: application/pkcs7-mime")


def test_memory_is_bounded(people) -> None:
    """64 MiB pass through signing, encryption, decryption and verification in 3 MiB."""
    bob = people.named("bob")
    piece = bytes(1 << 16)
    source = itertools.repeat(piece, 1024)
    size = 0

    def count(octets: bytes) -> None:
        nonlocal size
        size += len(octets)

    tracemalloc.start()
    try:
        signed = stream.sign(source, (people.named("ada").signer,), people.now)
        sealed = stream.encrypt(signed, (To(bob.certificate),))
        stream.decrypt(sealed, bob.ring, count)
        assert size > 64 << 20
        again = stream.sign(itertools.repeat(piece, 1024), (people.named("ada").signer,), people.now)
        assert stream.verify(again, lambda _piece: None).checks[0].good
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20


def test_attributes_are_no_content_in_pieces_either(people) -> None:
    """The twist of test_verbs, read as a stream."""
    ada = people.named("ada")
    info = SignedData.parse(content.parse(signing.sign(OCTETS, (ada.signer,), people.now))[1]).signers[0]
    assert info.signed_octets is not None
    twisted = msgspec.structs.replace(info, signed_octets=None)
    made = signed_format.encode(oids.DATA, info.signed_octets, (twisted,), (ada.certificate.octets,))
    (check,) = stream.verify(_cut(made, 100), lambda _piece: None).checks
    assert "attributes of another signature" in check.fault


@pytest.mark.parametrize(
    ("more", "good"), [(b"", True), (b"\r\n", True), (b"\0\0\n", True), (b"more", False), (b"\n0", False)]
)
def test_nothing_follows_the_object(people, more: bytes, good: bool) -> None:
    """As for whole objects: only line ends and padding may stand behind it, whatever piece they come in."""
    bob = people.named("bob")
    signed = b"".join(stream.sign([OCTETS], (people.named("ada").signer,), people.now))
    sealed = b"".join(stream.encrypt([OCTETS], (To(bob.certificate),)))
    for octets, read in (
        (signed, lambda pieces: stream.verify(pieces, len)),
        (sealed, lambda pieces: stream.decrypt(pieces, bob.ring, len)),
    ):
        for pieces in ([octets + more], [octets, more], [octets, b"", more[:1], more[1:]]):
            if good:
                read(pieces)
            else:
                with pytest.raises(Malformed, match="after the end"):
                    read(pieces)
