"""An authority and its people, as files and as values, for the tests of S/MIME beside other programs."""

from __future__ import annotations

import datetime
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import Unwrapped

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
OCTETS = b"One line.\r\nAnother line, and then nothing.\r\n" * 30
MESSAGE = (
    b"From: %s\r\nTo: somebody@rosewood.test\r\nSubject: Interop\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain\r\n\r\n" + OCTETS
)
DIGESTS = {"sha256": oids.SHA256, "sha384": oids.SHA384, "sha512": oids.SHA512}
SIGNING = ("rsa2048", "p256", "p384", "p521", "dsa2048")
ENCRYPTION = ("rsa2048", "p256", "p384", "p521")
CIPHERS = {
    "aes-128-cbc": oids.AES128_CBC, "aes-192-cbc": oids.AES192_CBC, "aes-256-cbc": oids.AES256_CBC,
    "aes-128-gcm": oids.AES128_GCM, "aes-192-gcm": oids.AES192_GCM, "aes-256-gcm": oids.AES256_GCM,
    "des3": oids.DES3_CBC,
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """A key and certificate, in memory and as files."""

    key: PrivateKey
    certificate: Certificate
    key_file: Path
    certificate_file: Path
    address: str

    @property
    def ring(self) -> KeyRing:
        return KeyRing((Own(self.key, self.certificate),))

    @property
    def message(self) -> bytes:
        return MESSAGE % self.address.encode()


class World:
    """An authority and its people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = issue.found(key_pairs.generate("rsa2048"), Name.make(O="Rosewood", CN="CA"), NOW, 3650, 1)
        self.anchor_file = folder / "ca.pem"
        self.anchor_file.write_bytes(pem.encode("CERTIFICATE", self.authority.certificate.octets))
        self._people: dict[str, Person] = {}

    def person(self, kind: str) -> Person:
        if kind not in self._people:
            key = key_pairs.generate(kind, legacy=True)
            address = f"{kind}@rosewood.test"
            certificate = issue.certify(
                self.authority, key.public, Name.make(CN=kind), (address,), issue.usages_of(key.public),
                when=NOW, days=30, serial=issue.serial_number(kind.encode().ljust(16, b".")),
            )  # fmt: skip
            key_file, certificate_file = self.folder / f"{kind}.key", self.folder / f"{kind}.pem"
            if not isinstance(key.key, key_pairs.DhKey):
                key_file.write_bytes(key_pairs.dump(key, None))
            certificate_file.write_bytes(pem.encode("CERTIFICATE", certificate.octets))
            self._people[kind] = Person(key, certificate, key_file, certificate_file, address)
        return self._people[kind]

    def file(self, octets: bytes) -> Path:
        number, path = tempfile.mkstemp(dir=self.folder)
        os.close(number)
        Path(path).write_bytes(octets)
        return Path(path)

    def openssl(self, *arguments: object) -> bytes:
        """Run `openssl cms`, which must succeed; return its output."""
        done = self.try_openssl(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def try_openssl(self, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["openssl", "cms", *map(str, arguments)], capture_output=True, timeout=60, check=False)

    def proof(self, unwrapped: Unwrapped, person: Person) -> Proof:
        """Return the whole verdict on a letter that says it is from `person`."""
        header = read_header(f"From: {person.address}\r\n\r\n".encode())
        trust = Trust(NOW, (Anchor.of(self.authority.certificate),), accept_legacy=person.address.startswith("dsa"))
        return prove(header, unwrapped, trust)

    def check(self, unwrapped: Unwrapped, person: Person) -> None:
        """Hold one of theirs against the whole verdict."""
        proof = self.proof(unwrapped, person)
        assert proof.good, proof.faults


def signer(person: Person, digest: str, **options: object) -> Signer:
    """Return a person as the signer of a message."""
    return Signer(person.key, person.certificate, DIGESTS[digest], **options)  # type: ignore[arg-type]


def run(*arguments: object, octets: bytes = b"", **environment: str) -> bytes:
    """Run a program that must succeed; returns its output and standard error together."""
    done = subprocess.run(
        [str(each) for each in arguments], input=octets, capture_output=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, (arguments, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout + done.stderr
