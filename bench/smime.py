"""S/MIME beside the primitives it is made of, beside libcrypto's own CMS functions, and beside the `openssl cms` program.

The floor of an operation is what libcrypto's primitives alone cost in this process: hashing the content and the signed
attributes, the RSA operation, the cipher, called with everything at hand: keys are loaded, no ASN.1 is read or written.
Where a chain is checked its floor has the signatures over the certificate and over the revocation list too. Times are
CPU milliseconds, medians of alternating runs. What is verified are messages with different content, one after the other.
"""

from __future__ import annotations

import datetime
import functools
import gc
import hashlib
import itertools
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pybase64
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509 import load_der_x509_certificate

from bench._libcrypto import Libcrypto
from letterlock.formats.asn1 import oids
from letterlock.formats.asn1.stream import SEGMENT_OCTETS
from letterlock.formats.cms import content, forms
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime import transfer
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue, path, remembered, revocation
from letterlock.trust.pkix.path import Anchor, Pool
from letterlock.trust.pkix.revocation import Evidence, Status
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import decrypt as opening
from letterlock.trust.smime import encrypt as sealing
from letterlock.trust.smime import protect, stream
from letterlock.trust.smime import sign as signing
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.unwrap import unwrap
from letterlock.trust.smime.verify import verify

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
TOKEN = "0123456789abcdef"
ATTRIBUTES_OCTETS = 430  # what our signatures cover
MESSAGES = 8
STRANGERS = 60
SECOND = datetime.timedelta(seconds=1)
Action = Callable[..., object]


def _cpu(action: Action) -> float:
    started = time.process_time()
    action()
    return (time.process_time() - started) * 1000


def _pair(ours: Action, peer: Action, rounds: int) -> tuple[float, float]:
    """Return the medians of both, run by turns."""
    ours(), peer()
    pairs = [(_cpu(ours), _cpu(peer)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _row(what: str, ours: float, peer: float) -> None:
    print(f"{what:<62} | {ours:9.3f} | {peer:9.3f} | {ours / peer:6.2f}")


class _World:
    def __init__(self) -> None:
        self.key = key_pairs.generate("rsa2048")
        assert isinstance(self.key.key, rsa.RSAPrivateKey)
        self.private = self.key.key
        self.public = self.private.public_key()
        authority = issue.found(key_pairs.generate("rsa2048"), Name.make(CN="CA"), NOW, 3650, 1)
        self.certificate = issue.certify(
            authority, self.key.public, Name.make(CN="Ada"), ("ada@rosewood.test",), issue.usages_of(self.key.public),
            when=NOW, days=30, serial=2,
        )  # fmt: skip
        self.authority = authority
        self.signer = signing.Signer(self.key, self.certificate)
        self.to = (sealing.To(self.certificate),)
        self.ring = KeyRing((Own(self.key, self.certificate),))
        (key,) = pem.decode(key_pairs.dump(self.key, None), b"PRIVATE KEY")
        self.crl = issue.revocation_list(authority, (), 1, NOW, NOW + datetime.timedelta(days=7))
        self.library = Libcrypto.load(key, self.certificate.octets, authority.certificate.octets, self.crl.octets)

    def strangers(self, octets: bytes) -> list[bytes]:
        """Return `octets` signed by people with a key each, the first that is ever seen of them."""
        messages = []
        for number in range(STRANGERS):
            key, address = key_pairs.generate("rsa2048"), f"ada{number}@rosewood.test"
            certificate = issue.certify(
                self.authority, key.public, Name.make(CN=address), (address,), issue.usages_of(key.public),
                when=NOW, days=30, serial=10 + number,
            )  # fmt: skip
            messages.append(signing.sign(octets, (signing.Signer(key, certificate),), NOW))
        return messages


def _floors(world: _World, octets: bytes, cipher: str) -> dict[str, Action]:
    """Return each operation with libcrypto alone."""
    prehashed, pkcs1 = Prehashed(hashes.SHA256()), padding.PKCS1v15()
    attributes = os.urandom(ATTRIBUTES_OCTETS)
    signature = world.private.sign(hashlib.sha256(attributes).digest(), pkcs1, prehashed)
    key, wrapped = os.urandom(32), world.public.encrypt(os.urandom(32), pkcs1)
    padded = octets + bytes(16 - len(octets) % 16) if cipher == oids.AES256_CBC else octets

    def mode() -> modes.Mode:
        return modes.CBC(bytes(16)) if cipher == oids.AES256_CBC else modes.GCM(bytes(12))

    sealer = Cipher(algorithms.AES(key), mode()).encryptor()
    sealed = sealer.update(padded) + sealer.finalize()
    tag = getattr(sealer, "tag", b"")

    def encrypt() -> None:
        world.public.encrypt(os.urandom(32), pkcs1)
        engine = Cipher(algorithms.AES(key), mode()).encryptor()
        engine.update(padded)
        engine.finalize()

    def decrypt() -> None:
        world.private.decrypt(wrapped, pkcs1)
        chosen = mode() if cipher == oids.AES256_CBC else modes.GCM(bytes(12), tag)
        engine = Cipher(algorithms.AES(key), chosen).decryptor()
        engine.update(sealed)
        engine.finalize()

    def sign() -> None:
        hashlib.sha256(octets).digest()
        world.private.sign(hashlib.sha256(attributes).digest(), pkcs1, prehashed)

    def verify_one() -> None:
        hashlib.sha256(octets).digest()
        world.public.verify(signature, hashlib.sha256(attributes).digest(), pkcs1, prehashed)

    return {
        "sign": sign,
        "verify": verify_one,
        "encrypt": encrypt,
        "decrypt": decrypt,
    }


def _operations(world: _World, name: str, size: int, rounds: int) -> None:
    """Compare the four operations on content of one size with the primitives, and with libcrypto's CMS functions."""
    octets, library = os.urandom(size), world.library
    signed = signing.sign(octets, (world.signer,), NOW)
    floors = _floors(world, octets, oids.AES256_GCM)
    sign, check = partial(signing.sign, octets, (world.signer,), NOW), partial(_verify, signed)
    _row(f"{name} sign, peer: primitives", *_pair(sign, floors["sign"], rounds))
    pieces = [octets[at : at + SEGMENT_OCTETS] for at in range(0, size, SEGMENT_OCTETS)]
    streamed = partial(_drain, partial(stream.sign, pieces, (world.signer,), NOW))
    _row(f"{name} sign, streamed BER, peer: primitives", *_pair(streamed, floors["sign"], rounds))
    several = 1 if size > 1_000_000 else MESSAGES
    for form, make in (("DER", signing.sign), ("streamed BER", _streamed)):
        messages = [make(octets[at:] + octets[:at], (world.signer,), NOW + at * SECOND) for at in range(several)]
        _row(f"{name} verify, {form}, peer: primitives", *_pair(_in_turn(_verify, messages), floors["verify"], rounds))
    if library is not None:
        _row(f"{name} sign, peer: CMS_sign", *_pair(sign, partial(library.sign, octets), rounds))
        peer = partial(library.verify, signed, chain=False)
        _row(f"{name} verify, peer: CMS_verify", *_pair(check, peer, rounds))
    for label, short, cipher in (("AES-256-GCM", "gcm", oids.AES256_GCM), ("AES-256-CBC", "cbc", oids.AES256_CBC)):
        floors = _floors(world, octets, cipher)
        sealed = sealing.encrypt(octets, world.to, cipher=cipher)
        encrypt, decrypt = partial(sealing.encrypt, octets, world.to, cipher=cipher), partial(_decrypt, world, sealed)
        _row(f"{name} encrypt {label}, peer: primitives", *_pair(encrypt, floors["encrypt"], rounds))
        _row(f"{name} decrypt {label}, peer: primitives", *_pair(decrypt, floors["decrypt"], rounds))
        sealing_stream = partial(stream.encrypt, pieces, world.to, cipher=cipher)
        streamed, read = partial(_drain, sealing_stream), partial(_decrypt, world, b"".join(sealing_stream()))
        _row(f"{name} encrypt {label}, streamed BER, peer: primitives", *_pair(streamed, floors["encrypt"], rounds))
        _row(f"{name} decrypt {label}, streamed BER, peer: primitives", *_pair(read, floors["decrypt"], rounds))
        if library is not None:
            ours = _pair(encrypt, partial(library.encrypt, octets, short), rounds)
            _row(f"{name} encrypt {label}, peer: CMS_encrypt", *ours)
            _row(
                f"{name} decrypt {label}, peer: CMS_decrypt", *_pair(decrypt, partial(library.decrypt, sealed), rounds)
            )


class _Chain:
    """Verification with the path to the anchor and the revocation list."""

    def __init__(self, world: _World) -> None:
        self._anchors, self._pool = (Anchor.of(world.authority.certificate),), Pool()
        self._evidence = Evidence((world.crl,), (), self._pool)

    def verify(self, signed: bytes) -> None:
        (found,) = verify(SignedData.read(signed))
        assert found.good and found.certificate is not None
        found_path = path.find(found.certificate, self._pool, self._anchors, NOW)
        assert revocation.check_path(found_path, self._evidence, NOW).status is Status.GOOD

    def verify_anew(self, signed: bytes) -> None:
        remembered.forget()
        self.verify(signed)


def _chain_floor(world: _World, floor: Action) -> Action:
    """Return `floor` with the two RSA operations and the hashing under certificate and list."""
    authority = world.authority.key.key
    assert isinstance(authority, rsa.RSAPrivateKey)
    public = authority.public_key()
    certificate, crl, pkcs1, sha256 = world.certificate, world.crl, padding.PKCS1v15(), hashes.SHA256()

    def with_chain() -> None:
        floor()
        public.verify(certificate.signature, certificate.tbs, pkcs1, sha256)
        public.verify(crl.signature, crl.tbs, pkcs1, sha256)

    return with_chain


def _reading_floor(world: _World, octets: bytes) -> Action:
    """Return what the floor of verifying is where the library must read certificate and key first."""
    pkcs1, prehashed, encoded = padding.PKCS1v15(), Prehashed(hashes.SHA256()), world.certificate.octets
    attributes = os.urandom(ATTRIBUTES_OCTETS)
    signature = world.private.sign(hashlib.sha256(attributes).digest(), pkcs1, prehashed)

    def floor() -> None:
        hashlib.sha256(octets).digest()
        public = load_der_x509_certificate(encoded).public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        public.verify(signature, hashlib.sha256(attributes).digest(), pkcs1, prehashed)

    return floor


def _chains(world: _World) -> None:
    """Verify 10 KB with chain and revocation list, of a known signer and of signers whose first message it is."""
    octets, chain, library = os.urandom(10_000), _Chain(world), world.library
    floor = _chain_floor(world, _floors(world, octets, oids.AES256_GCM)["verify"])
    messages = [signing.sign(octets[at:] + octets[:at], (world.signer,), NOW + at * SECOND) for at in range(MESSAGES)]
    _row("10 KB verify, chain and list, peer: primitives", *_pair(_in_turn(chain.verify, messages), floor, 300))
    if library is not None:
        peer = _in_turn(partial(library.verify, chain=True), messages)
        _row("10 KB verify, chain and list, peer: CMS_verify", *_pair(_in_turn(chain.verify, messages), peer, 300))
    reading = _reading_floor(world, octets)
    actions: dict[str, tuple[Callable[[bytes], None], Action, bool]] = {
        "first message of a signer": (_verify, reading, False),
        "first message, chain and list": (chain.verify_anew, _chain_floor(world, reading), True),
    }
    first = world.strangers(octets)
    for what, (action, primitives, with_chain) in actions.items():
        ours = _as_never_before(action, first, messages[0])
        _row(f"10 KB verify, {what}, peer: primitives, key read", *_pair(ours, primitives, STRANGERS - 1))
        if library is not None:
            ours = _as_never_before(action, first, messages[0])
            peer = _in_turn(partial(library.verify, chain=with_chain), first)
            _row(f"10 KB verify, {what}, peer: CMS_verify", *_pair(ours, peer, STRANGERS - 1))


def _as_never_before(action: Callable[[bytes], object], first: list[bytes], known: bytes) -> Action:
    """Return what takes another of the `first` messages each time, while nothing is remembered but what `known` taught."""
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            each.cache_clear()
    forms.forget()
    action(known)
    return _in_turn(action, first)


def _streamed(octets: bytes, signers: tuple[signing.Signer, ...], when: datetime.datetime) -> bytes:
    """Return signed content in BER, as it is written when it does not fit into memory."""
    pieces = (octets[at : at + SEGMENT_OCTETS] for at in range(0, len(octets), SEGMENT_OCTETS))
    return b"".join(stream.sign(pieces, signers, when))


def _drain(make: Callable[[], Iterable[bytes]]) -> None:
    """Take what is made piece by piece, as who writes it to a file."""
    for _piece in make():
        pass


def _in_turn(action: Callable[[bytes], object], messages: list[bytes]) -> Action:
    """Return what takes another message each time."""
    following = itertools.cycle(messages)
    return lambda: action(next(following))


def _verify(signed: bytes) -> None:
    assert verify(SignedData.read(signed))[0].good


def _decrypt(world: _World, sealed: bytes) -> None:
    opening.decrypt(EnvelopedData.parse(*content.parse(sealed)), world.ring)


def _beside_the_program(world: _World) -> None:
    """Compare with `openssl cms`, each operation a process, as those without a library have it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        octets = os.urandom(10_000)
        (folder / "data").write_bytes(octets)
        (folder / "key").write_bytes(key_pairs.dump(world.key, None))
        (folder / "cert").write_bytes(pem.encode("CERTIFICATE", world.certificate.octets))
        (folder / "ca").write_bytes(pem.encode("CERTIFICATE", world.authority.certificate.octets))
        signed, sealed = signing.sign(octets, (world.signer,), NOW), sealing.encrypt(octets, world.to)
        (folder / "signed").write_bytes(signed)
        (folder / "sealed").write_bytes(sealed)
        common = ("-binary", "-outform", "DER", "-out", "out")
        cases = {
            "sign": (lambda: signing.sign(octets, (world.signer,), NOW),
                     ("-sign", "-in", "data", "-nodetach", "-signer", "cert", "-inkey", "key", *common)),
            "verify": (lambda: _verify(signed),
                       ("-verify", "-in", "signed", "-inform", "DER", "-CAfile", "ca", "-out", "out")),
            "encrypt": (lambda: sealing.encrypt(octets, world.to),
                        ("-encrypt", "-aes-256-gcm", "-in", "data", *common, "-recip", "cert")),
            "decrypt": (lambda: _decrypt(world, sealed),
                        ("-decrypt", "-in", "sealed", "-inform", "DER", "-inkey", "key", "-recip", "cert", "-out", "out")),
        }  # fmt: skip
        for what, (ours, arguments) in cases.items():
            program = statistics.median(_program(folder, arguments) for _ in range(15))
            _row(f"10 KB {what}, peer: openssl cms", statistics.median(_cpu(ours) for _ in range(50)), program)


def _program(folder: Path, arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["openssl", "cms", *arguments], cwd=folder, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _messages(world: _World) -> None:
    """Time whole messages of 10 MB, signed and read again; the peer is what cannot be left out.

    That is hashing on both sides, and for opaque ones base64 both ways (without lines).
    """
    head = b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\n"
    words = random.Random(1).choices((b"rose", b"wood", b"and", b"the", b"lantern", b"of", b"mail"), k=2_100_000)
    text = b" ".join(words)[:10_000_000]
    prose = b"\r\n".join(text[at : at + 72].strip() for at in range(0, len(text), 72))
    attachment = b"Content-Transfer-Encoding: base64\r\n\r\n" + transfer.encode_base64(os.urandom(7_300_000))
    for what, body in (("text", b"Content-Type: text/plain\r\n\r\n" + prose), ("base64", attachment)):
        for form, opaque in (("clear", False), ("opaque", True)):
            _message(world, head + body, f"10 MB message of {what}, signed {form}", opaque=opaque)


def _message(world: _World, message: bytes, what: str, *, opaque: bool) -> None:
    wrap = partial(protect.sign_message, message, (world.signer,), NOW, opaque=opaque, token=TOKEN)
    floor = partial(_message_floor, message, opaque=opaque)
    signed = wrap()
    made, peer = _pair(wrap, floor, 7)
    read, _ = _pair(partial(unwrap, signed), floor, 7)
    both, _ = _pair(lambda: unwrap(wrap()), floor, 7)
    _row(f"{what}: wrap, then unwrap, peer: floor", made + read, peer)
    _row(f"{what}: both by turns, peer: floor", both, peer)


def _message_floor(message: bytes, *, opaque: bool) -> None:
    hashlib.sha256(message).digest()
    hashlib.sha256(message).digest()
    if opaque:
        pybase64.b64decode(pybase64.b64encode(message))


def main() -> None:
    """Print a row for each operation."""
    world = _World()
    print(f"{'what (CPU ms)':<62} | {'ours':>9} | {'peer':>9} | ratio")
    _operations(world, "10 KB", 10_000, 300)
    _operations(world, "10 MB", 10_000_000, 15)
    _chains(world)
    if shutil.which("openssl"):
        _beside_the_program(world)
    _messages(world)
