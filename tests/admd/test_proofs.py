"""Logging in without a password, to a whole server: tokens of a provider, and certificates of one's own."""

from __future__ import annotations

import base64
import datetime
import hashlib
import imaplib
import json
import poplib
import smtplib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.admd.test_serve import Server, unverified
from tests.trust.oauth.tokens import ISSUER, claims_for, make_token, web_key

from letterlock.admd.proofs import other_proofs
from letterlock.admd.settings import parse
from letterlock.errors import SettingsFault

PROVIDER = ec.generate_private_key(ec.SECP256R1())
ADA, EVE = "ada@rosewood.test", "eve@rosewood.test"


class Authority:
    """Makes certificates for people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "People of rosewood")])
        own = self._begin(self.name).public_key(self.key.public_key())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self.file = folder / "people.pem"
        signed = own.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())
        self.file.write_bytes(signed.public_bytes(Encoding.PEM))

    def _begin(self, subject: x509.Name) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def certify(self, *addresses: str) -> Path:
        """A certificate for these addresses with its key, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody")])).public_key(
            key.public_key()
        )
        if addresses:
            names = x509.SubjectAlternativeName([x509.RFC822Name(address) for address in addresses])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        file = self.folder / f"{certificate.serial_number}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        return file


def fingerprint(file: Path) -> str:
    """As `openssl x509 -fingerprint -sha256` writes it."""
    der = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
    return ":".join(f"{octet:02X}" for octet in hashlib.sha256(der).digest())


class Site:
    """A server that takes both proofs, and somebody's certificate that is mapped to eve."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.mapped = self.authority.certify()
        (folder / "keys.json").write_text(json.dumps({"keys": [web_key(PROVIDER, "k")]}))
        self.server = Server(
            folder,
            oauth={"issuer": ISSUER, "keys": "keys.json", "audiences": ["mail.rosewood.test"]},
            client_certificates={"authorities": "people.pem", "accounts": {fingerprint(self.mapped): ADA}},
        )

    def submission(self, certificate: Path | None = None) -> smtplib.SMTP_SSL:
        """A connection that has said EHLO, with a certificate shown or not."""
        context = unverified()
        if certificate is not None:
            context.load_cert_chain(certificate)
        client = smtplib.SMTP_SSL("127.0.0.1", self.server.port("submissions"), context=context, timeout=20)
        client.ehlo("laptop.test")
        return client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    with made.server.running():
        yield made


def token(user: str = ADA, **more: object) -> str:
    """A good token, or nearly."""
    return make_token(PROVIDER, claims_for(user, time.time(), **{"aud": "mail.rosewood.test"} | more))


def bearer(text: str, claimed: str = "", mechanism: str = "OAUTHBEARER") -> str:
    """The initial response as a client sends it."""
    said = (
        f"user={claimed}\1auth=Bearer {text}\1\1"
        if mechanism == "XOAUTH2"
        else f"n,a={claimed},\1auth=Bearer {text}\1\1"
    )
    return base64.b64encode(said.encode()).decode()


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_token_opens_submission(site: Site, mechanism: str) -> None:
    """RFC 7628: and who it opens it for may use own addresses only."""
    with site.submission() as client:
        assert mechanism in client.esmtp_features["auth"].split()
        assert client.docmd("AUTH", f"{mechanism} {bearer(token(), ADA, mechanism)}")[0] == 235
        assert client.mail("eve@rosewood.test")[0] == 553
        assert client.mail(ADA)[0] == 250


@pytest.mark.parametrize(
    ("text", "claimed"),
    [(token(exp=int(time.time()) - 100), ADA), (token("nobody@rosewood.test"), ""), (token(), EVE), (token(aud="x"), ADA),
     ("garbage", ADA)],
)  # fmt: skip
def test_a_token_that_does_not(site: Site, text: str, claimed: str) -> None:
    """RFC 7628 section 3.2.2: told why in JSON, and where tokens are to be had; then refused."""
    with site.submission() as client:
        code, challenge = client.docmd("AUTH", f"OAUTHBEARER {bearer(text, claimed)}")
        assert code == 334
        told = json.loads(base64.b64decode(challenge))
        assert told == {"status": "invalid_token", "openid-configuration": f"{ISSUER}/.well-known/openid-configuration"}
        assert client.docmd(base64.b64encode(b"\1").decode())[0] == 535


def test_a_token_opens_the_mailbox(site: Site) -> None:
    """IMAP and POP3 take what submission takes."""
    with imaplib.IMAP4_SSL("127.0.0.1", site.server.port("imaps"), ssl_context=unverified()) as reader:
        assert {"AUTH=OAUTHBEARER", "AUTH=XOAUTH2"} <= set(reader.capabilities)
        assert "AUTH=EXTERNAL" not in reader.capabilities
        reader.authenticate("XOAUTH2", lambda _: base64.b64decode(bearer(token(), ADA, "XOAUTH2")))
        assert reader.select()[0] == "OK"
    pop = poplib.POP3_SSL("127.0.0.1", site.server.port("pop3s"), context=unverified())
    assert "OAUTHBEARER" in pop.capa()["SASL"]
    assert pop._shortcmd(f"AUTH OAUTHBEARER {bearer(token())}").startswith(b"+OK")  # type: ignore[attr-defined]
    pop.quit()


def test_a_certificate_opens_submission_and_mailbox(site: Site) -> None:
    """RFC 4422 appendix A: the address in it says who; EXTERNAL is offered only to who has shown one."""
    certificate = site.authority.certify(ADA)
    with site.submission() as client:
        assert "EXTERNAL" not in client.esmtp_features["auth"]
        assert client.docmd("AUTH", "EXTERNAL =")[0] == 504
    with site.submission(certificate) as client:
        assert client.esmtp_features["auth"].split()[0] == "EXTERNAL"
        assert client.docmd("AUTH", "EXTERNAL =")[0] == 235
        assert client.mail(ADA)[0] == 250
    context = unverified()
    context.load_cert_chain(certificate)
    with smtplib.SMTP("127.0.0.1", site.server.port("submission"), timeout=20) as client:
        client.starttls(context=context)
        client.ehlo("laptop.test")
        assert client.docmd("AUTH", "EXTERNAL " + base64.b64encode(ADA.encode()).decode())[0] == 235
    with imaplib.IMAP4_SSL("127.0.0.1", site.server.port("imaps"), ssl_context=context) as reader:
        assert "AUTH=EXTERNAL" in reader.capabilities
        reader.authenticate("EXTERNAL", lambda _: b"")
        assert reader.select()[0] == "OK"


def test_a_certificate_that_is_mapped(site: Site) -> None:
    """By its fingerprint, whatever stands in it."""
    with site.submission(site.mapped) as client:
        assert client.docmd("AUTH", "EXTERNAL =")[0] == 235
        assert client.mail(ADA)[0] == 250


@pytest.mark.parametrize(
    ("addresses", "claimed"), [(("nobody@rosewood.test",), "="), ((), "="), ((ADA,), "ZXZlQHJvc2V3b29kLnRlc3Q=")]
)
def test_a_certificate_that_opens_nothing(site: Site, addresses: tuple[str, ...], claimed: str) -> None:
    """Nobody's address, none at all, or somebody else claimed."""
    with site.submission(site.authority.certify(*addresses)) as client:
        assert client.docmd("AUTH", f"EXTERNAL {claimed}")[0] == 535


def test_a_certificate_of_strangers(site: Site, tmp_path: Path) -> None:
    """Of another authority under the same name: the handshake fails."""
    with (
        pytest.raises((ssl.SSLError, smtplib.SMTPException, ConnectionError)),
        site.submission(Authority(tmp_path).certify(ADA)) as client,
    ):
        assert client.docmd("AUTH", "EXTERNAL =")[0] == 235


@pytest.mark.parametrize("keys", ["", "https://", "https://user@host/x", "https://host/a b"])
def test_settings_that_lead_nowhere(tmp_path: Path, keys: str) -> None:
    """Said at the start, by name."""
    settings = parse(
        {"domain": "rosewood.test", "oauth": {"issuer": ISSUER, "keys": keys}}, tmp_path / "letterlock.toml"
    )
    with pytest.raises(SettingsFault, match=r"oauth\.keys"):
        other_proofs(settings, None, None, None)  # type: ignore[arg-type]


def test_keys_that_are_not_at_hand(tmp_path: Path) -> None:
    """Nobody is refused for it: each protocol says that it cannot tell now, and passwords still count."""
    server = Server(tmp_path, oauth={"issuer": ISSUER, "keys": "nowhere.json"})
    with server.running():
        with smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=unverified(), timeout=20) as client:
            client.ehlo("laptop.test")
            assert client.docmd("AUTH", f"OAUTHBEARER {bearer(token())}")[0] == 454
            assert client.login(ADA, "a long enough secret")[0] == 235
        with imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=unverified()) as reader:
            with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
                reader.authenticate("OAUTHBEARER", lambda _: base64.b64decode(bearer(token())))
            assert reader.login(ADA, "a long enough secret")[0] == "OK"
        pop = poplib.POP3_SSL("127.0.0.1", server.port("pop3s"), context=unverified())
        with pytest.raises(poplib.error_proto, match=r"SYS/TEMP"):
            pop._shortcmd(f"AUTH OAUTHBEARER {bearer(token())}")  # type: ignore[attr-defined]
        pop.quit()
    assert [event["event"] for event in server.log].count("token keys not renewed") == 1
