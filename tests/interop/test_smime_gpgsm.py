"""S/MIME both ways with GnuPG's `gpgsm`."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.interop.smime_world import CIPHERS, DIGESTS, NOW, OCTETS, World, run, signer

from letterlock.cli.root import letterlock
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


def test_an_authority_as_it_is_founded_by_itself(tmp_path: Path) -> None:
    """`ca init` without choices: gpgsm encrypts to whom it certifies (it takes no digest shorter than the authority's curve)."""
    (tmp_path / "pw").write_text("tulip\n")
    (tmp_path / "letter").write_bytes(OCTETS)
    key, certificate = tmp_path / "key", tmp_path / "certificate.pem"
    password, authority = ("--password-file", tmp_path / "pw"), ("--folder", tmp_path / "ca")
    for words in (
        ("ca", "init", "rosewood.test", *authority, *password),
        ("keys", "generate", "rsa2048", "--out", key, *password),
        ("smime", "csr", "--key", key, "--address", "eve@rosewood.test", "--out", tmp_path / "request", *password),
        ("ca", "request", tmp_path / "request", *authority, *password),
        ("ca", "approve", 1, *authority, *password),
        ("ca", "issue", 1, "--out", certificate, *authority, *password),
    ):
        assert CliRunner().invoke(letterlock, list(map(str, words))).exit_code == 0
    home = Path(tempfile.mkdtemp(prefix="gpgsm"))
    home.chmod(0o700)

    def gpgsm(*arguments: object) -> None:
        run("gpgsm", "--batch", "--disable-crl-checks", *arguments, GNUPGHOME=str(home))

    try:
        anchor = tmp_path / "ca" / "ca.pem"
        fingerprint = run("openssl", "x509", "-in", anchor, "-noout", "-fingerprint", "-sha1").decode()
        (home / "trustlist.txt").write_text(fingerprint.split("=")[1].strip() + " S relax\n")
        gpgsm("--import", anchor, certificate)
        gpgsm("--encrypt", "-r", "eve@rosewood.test", "-o", tmp_path / "sealed", tmp_path / "letter")
    finally:
        run("gpgconf", "--kill", "all", GNUPGHOME=str(home))
        shutil.rmtree(home, ignore_errors=True)
    words = ("smime", "decrypt", tmp_path / "sealed", "--key", key, "--cert", certificate, *password)
    opened = CliRunner().invoke(letterlock, list(map(str, words)))
    assert opened.stdout_bytes == OCTETS
