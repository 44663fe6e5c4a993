"""S/MIME both ways with GnuPG's `gpgsm`."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.smime_world import CIPHERS, DIGESTS, NOW, OCTETS, World, run, signer

from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.unwrap import unwrap_cms

pytestmark = pytest.mark.interop


class Gpgsm:
    """gpgsm with a home of its own, which trusts our authority and has one RSA key."""

    def __init__(self, world: World) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="gpgsm"))  # short: its agent's socket lies there
        self.home.chmod(0o700)
        (self.home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        fingerprint = run("openssl", "x509", "-in", world.anchor_file, "-noout", "-fingerprint", "-sha1").decode()
        (self.home / "trustlist.txt").write_text(fingerprint.split("=")[1].strip() + " S relax\n")
        self("--import", world.anchor_file)
        for kind in ("p256", "p384", "p521"):
            self("--import", world.person(kind).certificate_file)
        person = world.person("rsa2048")
        store = world.folder / "gpgsm.p12"
        # gpgsm 2.2 reads PKCS#12 only with the old ciphers
        run("openssl", "pkcs12", "-export", "-legacy", "-inkey", person.key_file, "-in", person.certificate_file,
             "-out", store, "-passout", "pass:x", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES",
             "-macalg", "sha1")  # fmt: skip
        self("--import", store)

    def __call__(self, *arguments: object) -> bytes:
        """Run it; returns standard error and output together."""
        common = ("--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--disable-crl-checks", "--yes")
        return run("gpgsm", *common, *arguments, GNUPGHOME=str(self.home), octets=b"x\n")

    def close(self) -> None:
        run("gpgconf", "--kill", "all", GNUPGHOME=str(self.home))
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="module")
def gpgsm(world: World) -> Iterator[Gpgsm]:
    made = Gpgsm(world)
    yield made
    made.close()


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("kind", "digest"), [*itertools.product(("rsa2048", "p256"), DIGESTS), ("p384", "sha384"), ("p384", "sha512")]
)
def test_gpgsm_verifies_ours(world: World, gpgsm: Gpgsm, kind: str, digest: str, detached: bool) -> None:
    """RSA and ECDSA, inside and outside; gpgsm 2.2 refuses digests shorter than the curve, and so all on P-521."""
    made = sign(OCTETS, (signer(world.person(kind), digest),), NOW, detached=detached)
    more = (world.file(OCTETS),) if detached else ()
    assert b"Good signature" in gpgsm("--verify", world.file(made), *more)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("digest", DIGESTS)
def test_ours_verifies_gpgsm(world: World, gpgsm: Gpgsm, digest: str, detached: bool) -> None:
    """gpgsm signs with RSA alone: it has no way to take in an elliptic key."""
    person, out = world.person("rsa2048"), world.folder / "gpgsm.out"
    verb = "--detach-sign" if detached else "--sign"
    gpgsm("-u", person.address, "--digest-algo", digest, "-o", out, verb, world.file(OCTETS))
    world.check(unwrap_cms(out.read_bytes(), detached=OCTETS if detached else None), person)


@pytest.mark.parametrize("cipher", [name for name in CIPHERS if not name.endswith("gcm")])
def test_gpgsm_decrypts_ours(world: World, gpgsm: Gpgsm, cipher: str) -> None:
    """CBC alone: Debian's gpgsm 2.2 reads no authenticated enveloped data."""
    made = world.file(encrypt(OCTETS, (To(world.person("rsa2048").certificate),), cipher=CIPHERS[cipher], legacy=True))
    out = world.folder / "gpgsm.plain"
    gpgsm("-o", out, "--decrypt", made)
    assert out.read_bytes() == OCTETS


@pytest.mark.parametrize("cipher", ["AES", "AES192", "AES256", "3DES"])
def test_ours_decrypts_gpgsm(world: World, gpgsm: Gpgsm, cipher: str) -> None:
    """gpgsm writes streamed BER."""
    person, out = world.person("rsa2048"), world.folder / "gpgsm.sealed"
    gpgsm("--cipher-algo", cipher, "-r", person.address, "-o", out, "--encrypt", world.file(OCTETS))
    assert unwrap_cms(out.read_bytes(), person.ring).content == OCTETS
