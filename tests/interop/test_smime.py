"""S/MIME both ways with OpenSSL's `cms` and GnuPG's `gpgsm`: content types by algorithms by order."""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime import protect, receipts, stream
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To, ToPassword, ToSharedKey, encrypt
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import SignedLayer, Unwrapped, unwrap, unwrap_cms

pytestmark = pytest.mark.interop

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
    """An authority and its people, and the two programs."""

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
        done = subprocess.run(["openssl", "cms", *map(str, arguments)], capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def check(self, unwrapped: Unwrapped, person: Person) -> None:
        """Hold one of theirs against the whole verdict."""
        header = read_header(f"From: {person.address}\r\n\r\n".encode())
        trust = Trust(NOW, (Anchor.of(self.authority.certificate),), accept_legacy=person.address.startswith("dsa"))
        proof = prove(header, unwrapped, trust)
        assert proof.good, proof.faults


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def _signer(person: Person, digest: str, **options: object) -> Signer:
    return Signer(person.key, person.certificate, DIGESTS[digest], **options)  # type: ignore[arg-type]


_SIGN_CASES = [
    (kind, digest, form)
    for kind, digest, form in itertools.product(SIGNING, DIGESTS, ("clear", "opaque", "attached", "detached", "bare"))
    if kind != "dsa2048" or digest == "sha256"
]


@pytest.mark.parametrize(("kind", "digest", "form"), _SIGN_CASES)
def test_openssl_verifies_ours(world: World, kind: str, digest: str, form: str) -> None:
    """multipart/signed, application/pkcs7-mime, CMS with and without content, and without signed attributes."""
    person = world.person(kind)
    signers = (_signer(person, digest, with_attributes=form != "bare", by_key_id=form == "detached"),)
    more: tuple[object, ...] = ()
    if form in ("clear", "opaque"):
        made = protect.sign_message(person.message, signers, NOW, opaque=form == "opaque", token="t")
        more = ("-crlfeol",)
        expected = b"Content-Type: text/plain\r\n\r\n" + OCTETS
    else:
        made = sign(OCTETS, signers, NOW, detached=form == "detached")
        expected = OCTETS
        more = ("-binary", "-inform", "DER", *(("-content", world.file(OCTETS)) if form == "detached" else ()))
    found = world.openssl("-verify", "-in", world.file(made), "-CAfile", world.anchor_file, *more)
    assert found.replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("digest", DIGESTS)
def test_openssl_verifies_our_pss(world: World, digest: str) -> None:
    """RSASSA-PSS (RFC 4056)."""
    person = world.person("rsa2048")
    made = sign(OCTETS, (_signer(person, digest, pss=True),), NOW)
    assert world.openssl(
        "-verify", "-binary", "-inform", "DER", "-in", world.file(made), "-CAfile", world.anchor_file) == OCTETS  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "digest", "options"),
    [
        (kind, digest, options)
        for kind, digest, options in itertools.product(
            SIGNING, DIGESTS, ("", "-nodetach", "-nodetach -stream -indef", "-noattr -nodetach", "-keyid -nodetach")
        )
        if kind != "dsa2048" or digest == "sha256"
    ],
)
def test_ours_verifies_openssl(world: World, kind: str, digest: str, options: str) -> None:
    """Messages and streamed BER, with and without attributes, named both ways."""
    person = world.person(kind)
    made = world.openssl(
        "-sign", "-in", world.file(person.message), "-signer", person.certificate_file, "-inkey", person.key_file,
        "-md", digest, *options.split(),
    )  # fmt: skip
    world.check(unwrap(made), person)


def test_ours_verifies_openssl_pss(world: World) -> None:
    """RSASSA-PSS with openssl's parameters."""
    person = world.person("rsa2048")
    made = world.openssl(
        "-sign", "-in", world.file(person.message), "-signer", person.certificate_file, "-inkey", person.key_file,
        "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:-1", "-nodetach",
    )  # fmt: skip
    world.check(unwrap(made), person)


def test_ours_verifies_two_openssl_signers(world: World) -> None:
    """Several signers in one message, and one added later."""
    one, two, three = (world.person(kind) for kind in ("rsa2048", "p256", "p384"))
    made = world.openssl(
        "-sign", "-in", world.file(OCTETS), "-nodetach", "-binary", "-outform", "DER",
        "-signer", one.certificate_file, "-inkey", one.key_file, "-signer", two.certificate_file, "-inkey", two.key_file,
    )  # fmt: skip
    more = world.openssl(
        "-resign", "-in", world.file(made), "-inform", "DER", "-outform", "DER", "-nodetach", "-binary",
        "-signer", three.certificate_file, "-inkey", three.key_file,
    )  # fmt: skip
    layer = unwrap_cms(more).layers[0]
    assert isinstance(layer, SignedLayer)
    assert [check.fault for check in layer.checks] == ["", "", ""]


@pytest.mark.parametrize(
    ("kind", "cipher", "form"),
    [*itertools.product((*ENCRYPTION, "rsa-oaep"), CIPHERS, ("cms", "message")),
     *itertools.product(("rsa2048", "p256"), ("aes-128-cbc", "aes-256-gcm"), ("stream",))],
)  # fmt: skip
def test_openssl_decrypts_ours(world: World, kind: str, cipher: str, form: str) -> None:
    """RSA v1.5 and OAEP, ECDH on three curves; enveloped and authenticated, whole, as mail and in pieces."""
    person = world.person(kind.replace("rsa-oaep", "rsa2048"))
    to = (To(person.certificate, Oaep() if kind == "rsa-oaep" else None),)
    keys = ("-inkey", person.key_file, "-recip", person.certificate_file, "-binary")
    if form == "message":
        made = protect.encrypt_message(person.message, to, cipher=CIPHERS[cipher], legacy=True)
        assert world.openssl("-decrypt", "-in", world.file(made), *keys).endswith(OCTETS)
        return
    if form == "stream":
        made = b"".join(stream.encrypt([OCTETS[:100], OCTETS[100:]], to, cipher=CIPHERS[cipher]))
    else:
        made = encrypt(OCTETS, to, cipher=CIPHERS[cipher], legacy=True)
    assert world.openssl("-decrypt", "-inform", "DER", "-in", world.file(made), *keys) == OCTETS


@pytest.mark.parametrize(
    ("kind", "cipher", "options"),
    [*itertools.product((*ENCRYPTION, "rsa-oaep"), CIPHERS, ("",)),
     *itertools.product(("rsa2048", "p256"), ("aes-128-cbc", "aes-256-gcm"), ("-keyid", "-stream -indef")),
     *itertools.product(("p256", "p384"), ("aes-256-cbc",), ("-keyopt ecdh_kdf_md:sha256", "-keyopt ecdh_kdf_md:sha512"))],
)  # fmt: skip
def test_ours_decrypts_openssl(world: World, kind: str, cipher: str, options: str) -> None:
    """The same the other way round, streamed BER included."""
    person = world.person(kind.replace("rsa-oaep", "rsa2048"))
    oaep = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256") if kind == "rsa-oaep" else ()
    flags = [each for each in options.split() if each != "-keyopt" and not each.startswith("ecdh")]
    keyopt = options.split() if options.startswith("-keyopt") else ()
    made = world.openssl(
        "-encrypt", f"-{cipher}", "-in", world.file(person.message), *flags, "-recip", person.certificate_file,
        *oaep, *keyopt,
    )  # fmt: skip
    unwrapped = unwrap(made, person.ring)
    assert unwrapped.fault == ""
    assert unwrapped.content.replace(b"\r\n", b"\n").endswith(OCTETS.replace(b"\r\n", b"\n"))


def test_passwords_and_shared_keys_with_openssl(world: World) -> None:
    """PWRI and KEKRI both ways."""
    key = bytes(range(32))
    made = world.file(encrypt(OCTETS, (ToPassword(b"tulip"), ToSharedKey(b"\x01\x02", key)), cipher=oids.AES256_CBC))
    common = ("-decrypt", "-inform", "DER", "-binary", "-in", made)
    assert world.openssl(*common, "-pwri_password", "tulip") == OCTETS
    assert world.openssl(*common, "-secretkey", key.hex(), "-secretkeyid", "0102") == OCTETS
    theirs = world.openssl(
        "-encrypt", "-aes256", "-binary", "-outform", "DER", "-in", world.file(OCTETS), "-pwri_password", "tulip",
        "-secretkey", key.hex(), "-secretkeyid", "0102",
    )  # fmt: skip
    assert unwrap_cms(theirs, KeyRing(passwords=(b"tulip",))).content == OCTETS
    assert unwrap_cms(theirs, KeyRing(shared={b"\x01\x02": key})).content == OCTETS


@pytest.mark.parametrize("order", ["sign encrypt", "encrypt sign", "sign encrypt sign", "sign sign"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_orders_of_wrapping(world: World, order: str, ours_first: bool) -> None:
    """Layers made by turns by ours and openssl are opened whole by ours."""
    ada, bob = world.person("rsa2048"), world.person("p256")
    message, ours = ada.message, ours_first
    for step in order.split():
        if step == "sign" and ours:
            message = protect.sign_message(message, (_signer(ada, "sha256"),), NOW, token="t")
        elif step == "sign":
            message = world.openssl("-sign", "-nodetach", "-in", world.file(message), "-signer", ada.certificate_file,
                                    "-inkey", ada.key_file)  # fmt: skip
        elif ours:
            message = protect.encrypt_message(message, (To(bob.certificate),))
        else:
            message = world.openssl("-encrypt", "-aes256", "-in", world.file(message), bob.certificate_file)
        ours = not ours
    unwrapped = unwrap(message, bob.ring)
    assert len(unwrapped.layers) >= len(order.split())
    world.check(unwrapped, ada)


def test_receipts_with_openssl(world: World) -> None:
    """Ours gives a receipt that openssl verifies, and openssl one that ours matches."""
    ada, bob = world.person("rsa2048"), world.person("p256")
    theirs = world.file(world.openssl(
        "-sign", "-nodetach", "-in", world.file(OCTETS), "-binary", "-outform", "DER", "-signer", ada.certificate_file,
        "-inkey", ada.key_file, "-receipt_request_all", "-receipt_request_to", ada.address,
    ))  # fmt: skip
    layer = unwrap_cms(theirs.read_bytes()).layers[0]
    assert isinstance(layer, SignedLayer)
    assert receipts.wanted(layer.checks[0], (bob.address,)).send
    receipt = world.file(receipts.make(layer.checks[0], oids.DATA, _signer(bob, "sha256"), NOW))
    world.openssl(
        "-verify_receipt", receipt, "-rctform", "DER", "-inform", "DER", "-in", theirs, "-CAfile", world.anchor_file
    )
    asked = Signer(ada.key, ada.certificate, attributes=(receipts.request(b"interop-1", ada.address),))
    ours = sign(OCTETS, (asked,), NOW)
    answer = world.openssl(
        "-sign_receipt", "-in", world.file(ours), "-inform", "DER", "-outform", "DER", "-signer", bob.certificate_file,
        "-inkey", bob.key_file,
    )  # fmt: skip
    sent, got = unwrap_cms(ours).layers[0], unwrap_cms(answer).layers[0]
    assert isinstance(sent, SignedLayer)
    assert isinstance(got, SignedLayer)
    receipts.match(got.signed, got.checks[0], sent.checks[0].signer)


class Gpgsm:
    """gpgsm with a home of its own, which trusts our authority and has one RSA key."""

    def __init__(self, world: World) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="gpgsm"))  # short: its agent's socket lies there
        self.home.chmod(0o700)
        (self.home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        fingerprint = _run("openssl", "x509", "-in", world.anchor_file, "-noout", "-fingerprint", "-sha1").decode()
        (self.home / "trustlist.txt").write_text(fingerprint.split("=")[1].strip() + " S relax\n")
        self("--import", world.anchor_file)
        for kind in ("p256", "p384", "p521"):
            self("--import", world.person(kind).certificate_file)
        person = world.person("rsa2048")
        store = world.folder / "gpgsm.p12"
        # gpgsm 2.2 reads PKCS#12 only with the old ciphers
        _run("openssl", "pkcs12", "-export", "-legacy", "-inkey", person.key_file, "-in", person.certificate_file,
             "-out", store, "-passout", "pass:x", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES",
             "-macalg", "sha1")  # fmt: skip
        self("--import", store)

    def __call__(self, *arguments: object) -> bytes:
        """Run it; returns standard error and output together."""
        common = ("--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--disable-crl-checks", "--yes")
        return _run("gpgsm", *common, *arguments, home=self.home)

    def close(self) -> None:
        _run("gpgconf", "--kill", "all", home=self.home)
        shutil.rmtree(self.home, ignore_errors=True)


def _run(*arguments: object, home: Path | None = None) -> bytes:
    environment = dict(os.environ) if home is None else {**os.environ, "GNUPGHOME": str(home)}
    done = subprocess.run(
        [str(each) for each in arguments], input=b"x\n", capture_output=True, timeout=30, env=environment, check=False
    )
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout + done.stderr


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
    made = sign(OCTETS, (_signer(world.person(kind), digest),), NOW, detached=detached)
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
