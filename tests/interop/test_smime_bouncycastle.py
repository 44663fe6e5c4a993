"""S/MIME both ways with Bouncy Castle: the algorithms and content types that no other peer of Debian has."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.smime_world import CIPHERS, DIGESTS, NOW, OCTETS, Person, World, signer

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.x509 import pem
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime import stream
from letterlock.trust.smime.compress import compress
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.encrypt import To, ToPassword, encrypt
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import AuthenticatedLayer, CompressedLayer, unwrap_cms

pytestmark = pytest.mark.interop
_SOURCE = Path(__file__).parent / "peers" / "BouncyCastle.java"
_JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("bcpkix", "bcutil", "bcprov"))
_KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448", "dsa2048")
_SIGN_CASES = [
    (kind, digest, form)
    for kind, digest, form in itertools.product(_KINDS, DIGESTS, ("attached", "detached", "bare"))
    if kind[0] in "rp" or digest == "sha256"  # the others bring their digest, or know no other
]
_MORE_CIPHERS = {
    **CIPHERS, "aes-128-ccm": oids.AES128_CCM, "aes-256-ccm": oids.AES256_CCM,
    "chacha20-poly1305": oids.CHACHA20_POLY1305, "rc2-128": oids.RC2_CBC,
}  # fmt: skip
_TO = {
    "rsa2048": "rsa", "rsa-oaep": "oaep", "p256": oids.ECDH_SHA256, "p384": oids.ECDH_SHA384, "p521": oids.ECDH_SHA512,
}  # fmt: skip


class BouncyCastle:
    """One Java process that does what it is told, a line a command."""

    def __init__(self, world: World) -> None:
        self.world = world
        classes = world.folder / "classes"
        subprocess.run(["javac", "-d", classes, "-cp", _JARS, _SOURCE], check=True, capture_output=True, timeout=120)
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{_JARS}", "BouncyCastle"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, *words: object) -> str:
        """Have a command done; return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(("\t".join(map(str, words)) + "\n").encode())
        self._process.stdin.flush()
        state, _, answer = self._process.stdout.readline().decode().strip().partition(" ")
        assert state == "ok", (words, answer)
        return answer

    def made(self, *words: object) -> bytes:
        """Have a command done that writes a file; return that."""
        out = self.world.file(b"")
        self(*words, out)
        return out.read_bytes()

    def key(self, person: Person) -> Path:
        """Return the file of a person's key in DER."""
        return self.world.file(pem.decode(person.key_file.read_bytes(), b"PRIVATE KEY")[0])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def castle(world: World) -> Iterator[BouncyCastle]:
    made = BouncyCastle(world)
    yield made
    made.close()


def _names(kind: str, digest: str) -> str:
    """Return Java's name of a signature algorithm."""
    if kind.startswith("ed"):
        return kind.capitalize()
    return f"{digest.upper()}with{ {'r': 'RSA', 'p': 'ECDSA', 'd': 'DSA'}[kind[0]] }"


@pytest.mark.parametrize(("kind", "digest", "form"), _SIGN_CASES)
def test_bouncy_castle_verifies_ours(castle: BouncyCastle, kind: str, digest: str, form: str) -> None:
    """RSA, ECDSA, DSA, Ed25519 and Ed448; inside, outside and without signed attributes."""
    person = castle.world.person(kind)
    made = sign(OCTETS, (signer(person, digest, with_attributes=form != "bare"),), NOW, detached=form == "detached")
    inside = castle.world.file(OCTETS) if form == "detached" else "-"
    out = castle.world.file(b"")
    assert castle("verify", castle.world.file(made), inside, person.certificate_file, out) == "1"
    if form != "detached":
        assert out.read_bytes() == OCTETS


@pytest.mark.parametrize(("kind", "digest", "form"), _SIGN_CASES)
def test_ours_verifies_bouncy_castle(castle: BouncyCastle, kind: str, digest: str, form: str) -> None:
    """The same the other way round."""
    person = castle.world.person(kind)
    source = castle.world.file(OCTETS)
    made = castle.made("sign", castle.key(person), person.certificate_file, _names(kind, digest), form, source)
    castle.world.check(unwrap_cms(made, detached=OCTETS if form == "detached" else None), person)


@pytest.mark.parametrize("digest", DIGESTS)
def test_pss(castle: BouncyCastle, digest: str) -> None:
    """RSASSA-PSS both ways (RFC 4056)."""
    person, out = castle.world.person("rsa2048"), castle.world.file(b"")
    ours = castle.world.file(sign(OCTETS, (signer(person, digest, pss=True),), NOW))
    assert castle("verify", ours, "-", person.certificate_file, out) == "1"
    name = f"{digest.upper()}withRSAandMGF1"
    source = castle.world.file(OCTETS)
    theirs = castle.made("sign", castle.key(person), person.certificate_file, name, "attached", source)
    castle.world.check(unwrap_cms(theirs), person)


def _recipient(castle: BouncyCastle, kind: str) -> tuple[Person, To]:
    person = castle.world.person(kind.replace("rsa-oaep", "rsa2048"))
    return person, To(person.certificate, Oaep() if kind == "rsa-oaep" else None)


@pytest.mark.parametrize(("kind", "cipher"), [*itertools.product(_TO, _MORE_CIPHERS)])
def test_bouncy_castle_decrypts_ours(castle: BouncyCastle, kind: str, cipher: str) -> None:
    """RSA, OAEP and ECDH by CBC, GCM, CCM, ChaCha20-Poly1305, Triple-DES and RC2."""
    person, to = _recipient(castle, kind)
    made = encrypt(OCTETS, (to,), cipher=_MORE_CIPHERS[cipher], legacy=True)
    assert castle.made("decrypt", castle.key(person), castle.world.file(made)) == OCTETS


@pytest.mark.parametrize(("kind", "cipher"), [*itertools.product(_TO, ("aes-128-cbc", "aes-256-gcm"))])
def test_bouncy_castle_decrypts_ours_in_pieces(castle: BouncyCastle, kind: str, cipher: str) -> None:
    """Streamed BER."""
    person, to = _recipient(castle, kind)
    made = b"".join(stream.encrypt([OCTETS[:100], OCTETS[100:]], (to,), cipher=CIPHERS[cipher]))
    assert castle.made("decrypt", castle.key(person), castle.world.file(made)) == OCTETS


@pytest.mark.parametrize(("kind", "cipher"), [*itertools.product(_TO, _MORE_CIPHERS)])
def test_ours_decrypts_bouncy_castle(castle: BouncyCastle, kind: str, cipher: str) -> None:
    """The same the other way round."""
    person, _to = _recipient(castle, kind)
    source = castle.world.file(OCTETS)
    made = castle.made("encrypt", person.certificate_file, _MORE_CIPHERS[cipher], _TO[kind], source)
    unwrapped = unwrap_cms(made, person.ring)
    if cipher == "chacha20-poly1305":
        # it puts ChaCha20-Poly1305 into EnvelopedData, which RFC 8103 section 2 rules out, and keeps no tag apart
        assert "content type and cipher do not go together" in unwrapped.fault
    else:
        assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)


def test_several_signers(castle: BouncyCastle) -> None:
    """Two signatures of one person, by two digests: both hold."""
    person, out = castle.world.person("p256"), castle.world.file(b"")
    two = (Signer(person.key, person.certificate), Signer(person.key, person.certificate, oids.SHA512))
    made = castle.world.file(sign(OCTETS, two, NOW))
    assert castle("verify", made, "-", person.certificate_file, out) == "2"


def test_compression(castle: BouncyCastle) -> None:
    """CompressedData both ways (RFC 3274), which Debian's openssl cannot."""
    assert castle.made("expand", castle.world.file(compress(OCTETS))) == OCTETS
    unwrapped = unwrap_cms(castle.made("compress", castle.world.file(OCTETS)))
    assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)
    assert isinstance(unwrapped.layers[0], CompressedLayer)


@pytest.mark.parametrize("kind", ["ed25519", "p521"])
def test_compressed_then_signed(castle: BouncyCastle, kind: str) -> None:
    """CompressedData directly inside SignedData."""
    person = castle.world.person(kind)
    inside = content.parse(castle.made("compress", castle.world.file(OCTETS)))[1].encoded
    made = sign(inside, (signer(person, "sha512"),), NOW, content_type=oids.COMPRESSED_DATA)
    assert castle("verify", castle.world.file(made), "-", person.certificate_file, castle.world.file(b"")) == "1"
    unwrapped = unwrap_cms(made)
    assert unwrapped.content == OCTETS
    castle.world.check(unwrapped, person)


def test_authenticated_data(castle: BouncyCastle) -> None:
    """AuthenticatedData is read (RFC 5652 section 9)."""
    person = castle.world.person("rsa2048")
    unwrapped = unwrap_cms(castle.made("mac", person.certificate_file, castle.world.file(OCTETS)), person.ring)
    assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)
    assert unwrapped.layers == (AuthenticatedLayer("HMAC-SHA-256"),)


@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-256-cbc", "aes-256-gcm"])
def test_passwords(castle: BouncyCastle, cipher: str) -> None:
    """PasswordRecipientInfo (RFC 3211) with PBKDF2 and HMAC-SHA-256."""
    made = castle.made("password", "tulip", CIPHERS[cipher], castle.world.file(OCTETS))
    assert unwrap_cms(made, KeyRing(passwords=(b"rose", b"tulip"))).content == OCTETS
    ours = castle.world.file(encrypt(OCTETS, (ToPassword(b"tulip"),), cipher=CIPHERS[cipher]))
    assert castle.made("open", "tulip", ours) == OCTETS


@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-256-cbc", "des3"])
def test_encrypted_data(castle: BouncyCastle, cipher: str) -> None:
    """EncryptedData, whose key comes by other ways (RFC 5652 section 8), is read."""
    key = castle.world.file(b"")
    made = castle.made("seal", CIPHERS[cipher], castle.world.file(OCTETS), key)
    assert unwrap_cms(made, KeyRing(content_keys=(key.read_bytes(),))).content == OCTETS
    assert "none of the content keys" in unwrap_cms(made).fault
