"""S/MIME beside the primitives it is made of, and beside the `openssl cms` program.

The floor of an operation is what libcrypto alone costs in this process: hashing, the RSA operation, the cipher. Times are
CPU milliseconds, medians of alternating runs.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import datetime
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import decrypt as opening
from letterlock.trust.smime import encrypt as sealing
from letterlock.trust.smime import protect, stream
from letterlock.trust.smime import sign as signing
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.unwrap import unwrap
from letterlock.trust.smime.verify import verify

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
Action = Callable[[], object]


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
    print(f"{what:<44} | {ours:9.3f} | {peer:9.3f} | {ours / peer:6.2f}")


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


def _floors(world: _World, octets: bytes, cipher: str) -> dict[str, Action]:
    """Return each operation with libcrypto alone."""
    prehashed, pkcs1 = Prehashed(hashes.SHA256()), padding.PKCS1v15()
    signature = world.private.sign(hashlib.sha256(octets).digest(), pkcs1, prehashed)
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

    return {
        "sign": lambda: world.private.sign(hashlib.sha256(octets).digest(), pkcs1, prehashed),
        "verify": lambda: world.public.verify(signature, hashlib.sha256(octets).digest(), pkcs1, prehashed),
        "encrypt": encrypt,
        "decrypt": decrypt,
    }


def _in_process(world: _World) -> None:
    for name, size, rounds in (("10 KB", 10_000, 200), ("10 MB", 10_000_000, 7)):
        octets = os.urandom(size)
        signed = signing.sign(octets, (world.signer,), NOW)
        floors = _floors(world, octets, oids.AES256_GCM)
        _row(f"{name} sign", *_pair(lambda o=octets: signing.sign(o, (world.signer,), NOW), floors["sign"], rounds))
        _row(f"{name} verify", *_pair(lambda s=signed: _verify(s), floors["verify"], rounds))
        streamed = b"".join(stream.sign((octets[i : i + 65536] for i in range(0, size, 65536)), (world.signer,), NOW))
        _row(f"{name} verify, streamed BER", *_pair(lambda s=streamed: _verify(s), floors["verify"], rounds))
        for label, cipher in (("AES-256-GCM", oids.AES256_GCM), ("AES-256-CBC", oids.AES256_CBC)):
            floors = _floors(world, octets, cipher)
            sealed = sealing.encrypt(octets, world.to, cipher=cipher)
            ours = _pair(lambda o=octets, c=cipher: sealing.encrypt(o, world.to, cipher=c), floors["encrypt"], rounds)
            _row(f"{name} encrypt {label}", *ours)
            _row(f"{name} decrypt {label}", *_pair(lambda s=sealed: _decrypt(world, s), floors["decrypt"], rounds))


def _verify(signed: bytes) -> None:
    assert verify(SignedData.parse(content.parse(signed)[1]))[0].good


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


def _beside_cms_verify(world: _World) -> None:
    """Compare with libcrypto's own CMS_verify in this process: the same parsing, digests and signature."""
    name = ctypes.util.find_library("crypto")
    if name is None:
        return
    crypto = ctypes.CDLL(name)
    for function in ("BIO_new_mem_buf", "d2i_CMS_bio", "BIO_new", "BIO_s_null"):
        getattr(crypto, function).restype = ctypes.c_void_p
    crypto.BIO_new.argtypes = [ctypes.c_void_p]
    crypto.BIO_new_mem_buf.argtypes = [ctypes.c_char_p, ctypes.c_int]
    crypto.d2i_CMS_bio.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    crypto.CMS_verify.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_uint]
    crypto.CMS_ContentInfo_free.argtypes = crypto.BIO_free.argtypes = [ctypes.c_void_p]
    sink = crypto.BIO_new(crypto.BIO_s_null())

    def peer(signed: bytes) -> None:
        bio = crypto.BIO_new_mem_buf(signed, len(signed))
        cms = crypto.d2i_CMS_bio(bio, None)
        # CMS_BINARY and CMS_NO_SIGNER_CERT_VERIFY: the chain is left out on both sides
        assert crypto.CMS_verify(cms, None, None, None, sink, 0x80 | 0x20) == 1
        crypto.CMS_ContentInfo_free(cms)
        crypto.BIO_free(bio)

    for label, size, rounds in (("10 KB", 10_000, 200), ("10 MB", 10_000_000, 7)):
        signed = signing.sign(os.urandom(size), (world.signer,), NOW)
        ours = _pair(lambda s=signed: _verify(s), lambda s=signed: peer(s), rounds)
        _row(f"{label} verify, peer: CMS_verify in process", *ours)


def _messages(world: _World) -> None:
    """Time whole messages of 10 MB; the peer is hashing them once."""
    lines = (b"x" * 74 + b"\r\n") * (10_000_000 // 76)
    message = b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + lines
    floor: Action = lambda: hashlib.sha256(message).digest()  # noqa: E731
    for what, opaque in (("multipart/signed", False), ("opaque", True)):
        signed = protect.sign_message(message, (world.signer,), NOW, opaque=opaque, token="t")
        ours = _pair(
            lambda o=opaque: protect.sign_message(message, (world.signer,), NOW, opaque=o, token="t"), floor, 5
        )
        _row(f"10 MB message, sign as {what}, peer: SHA-256", *ours)
        _row(f"10 MB message, read {what}, peer: SHA-256", *_pair(lambda s=signed: unwrap(s), floor, 5))


def main() -> None:
    """Print a row for each operation."""
    world = _World()
    print(f"{'what (CPU ms)':<44} | {'ours':>9} | {'peer':>9} | ratio")
    _in_process(world)
    _beside_cms_verify(world)
    if shutil.which("openssl"):
        _beside_the_program(world)
    _messages(world)
