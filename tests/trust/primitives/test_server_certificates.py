"""Server certificates, as OpenSSL judges them through the ssl module."""

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest

from letterlock.trust.primitives import server_certificates
from letterlock.trust.primitives.server_certificates import Identity, Validity


def _handshake(identity: Identity, trusted: bytes, name: str, folder: Path) -> None:
    chain = folder / "chain.pem"
    chain.write_bytes(identity.key + identity.certificate)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(chain)
    client_context = ssl.create_default_context(cadata=trusted.decode())
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    server = server_context.wrap_bio(server_in, server_out, server_side=True)
    client = client_context.wrap_bio(client_in, client_out, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        server_in.write(client_out.read())
        client_in.write(server_out.read())
    assert client.version() == "TLSv1.3"


def test_a_certificate_of_the_authority_holds_for_its_names(tmp_path: Path) -> None:
    """The chain and each name verify; another name does not."""
    validity = Validity(datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1), datetime.timedelta(days=2))
    ca = server_certificates.authority("Lab CA", validity, 1)
    identity = server_certificates.server(("mail.rosewood.test", "127.0.0.1"), validity, 2, ca)
    _handshake(identity, ca.certificate, "mail.rosewood.test", tmp_path)
    _handshake(identity, ca.certificate, "127.0.0.1", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mail\.harbor\.test"):
        _handshake(identity, ca.certificate, "mail.harbor.test", tmp_path)


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """Times come from the caller, so a test can make what has expired."""
    long_ago = Validity(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(days=2))
    identity = server_certificates.server(("mail.rosewood.test",), long_ago, 2)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        _handshake(identity, identity.certificate, "mail.rosewood.test", tmp_path)
