"""TLS contexts for servers and clients, and what a finished handshake showed.

Servers: TLS 1.2 and later, forward secrecy only, several certificates of different algorithms side by side, reload
without dropping a session (`ServerTls.reload`; a context already in use keeps its keys). Clients: opportunistic (any
certificate; the caller judges the chain in `TlsState`) or authenticated (trust anchors and a name).

Channel bindings: `tls-server-end-point` always; `tls-unique` up to TLS 1.2. Python's ssl module gives no access to the
exporter of RFC 5705, so `tls-exporter` (RFC 9266) cannot be offered and is not.

Standards: RFC 8996 (no TLS 1.0 and 1.1), RFC 5929 (tls-unique, tls-server-end-point), RFC 9325 (recommendations).
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.errors import SettingsFault

# Forward secrecy and authenticated encryption (RFC 9325 section 4.2); the TLS 1.3 suites are OpenSSL's own.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
# Where the other choice is plain text: CBC with forward secrecy, and RSA key transport, too (RFC 7435 section 3).
_OPPORTUNISTIC_CIPHERS = _CIPHERS + ":ECDHE+AES:DHE+AES:RSA+AES"


@dataclass(frozen=True, slots=True)
class TlsState:
    """What a finished handshake showed.

    `peer_chain` is DER, the peer's own certificate first, as sent and unjudged; empty where it sent none.
    `validated_chain` is the path to a trusted root, root included, where the context demanded one, or let a client show one.
    `bindings` are the channel bindings by the names of RFC 5929; several octet strings where a server cannot know which
    of its own certificates was used. `application` is the ALPN name agreed on, or empty.
    """

    version: str
    cipher: str
    cipher_bits: int
    peer_chain: tuple[bytes, ...] = ()
    validated_chain: tuple[bytes, ...] = ()
    bindings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    application: str = ""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a server's certificate chain and its private key stand, both PEM."""

    chain: Path
    key: Path


class _Context(ssl.SSLContext):
    """An SSL context that remembers the end-point bindings of the certificates it serves."""

    end_points: tuple[bytes, ...] = ()


class ServerTls:
    """A server's TLS: the current context, renewed by `reload` when certificates were renewed.

    `client_roots` (PEM files), if any, let clients show a certificate of these authorities (SASL EXTERNAL); none is
    demanded. `applications` are ALPN names, the first preferred. `opportunistic_context` also knows older suites, for where
    the other choice is plain text.
    """

    def __init__(
        self, pairs: Sequence[KeyPair], *, client_roots: Iterable[Path] = (), applications: Sequence[str] = ()
    ) -> None:
        self._pairs = tuple(pairs)
        self._client_roots = tuple(client_roots)
        self._applications = tuple(applications)
        self._siblings: list[ServerTls] = []
        self._take_up()

    def asking_clients(self, roots: Path) -> ServerTls:
        """Return TLS with the same certificates that lets clients show one of these authorities; reloaded with this one.

        Raises SettingsFault.
        """
        sibling = ServerTls(self._pairs, client_roots=[roots], applications=self._applications)
        self._siblings.append(sibling)
        return sibling

    def reload(self) -> None:
        """Read the files again. Sessions that stand keep what they have; a file that is wrong changes nothing.

        Raises SettingsFault.
        """
        self._take_up()
        for sibling in self._siblings:
            sibling.reload()

    def _take_up(self) -> None:
        context, opportunistic = self._load(_CIPHERS), self._load(_OPPORTUNISTIC_CIPHERS)
        self.context, self.opportunistic_context = context, opportunistic

    def _load(self, ciphers: str) -> ssl.SSLContext:
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        end_points = []
        for pair in self._pairs:
            try:
                context.load_cert_chain(pair.chain, pair.key)
                end_points.append(end_point(_first_certificate(pair.chain)))
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                problem = f"{pair.chain} with {pair.key}: no usable certificate and key ({_why(pair, error)}); renew the files"
                raise SettingsFault((problem,)) from error
        for roots in self._client_roots:
            try:
                context.load_verify_locations(roots)
            except OSError as error:
                raise SettingsFault((f"{roots}: no certificates of authorities: {error}",)) from error
            context.verify_mode = ssl.CERT_OPTIONAL
        if self._applications:
            context.set_alpn_protocols(list(self._applications))
        context.end_points = tuple(end_points)
        return context


def _why(pair: KeyPair, error: OSError | ValueError) -> str:
    """Return in words why a pair cannot be served; OpenSSL names neither the file that is missing nor what is odd."""
    for path in (pair.chain, pair.key):
        try:
            with path.open("rb"):
                pass
        except OSError as problem:
            return f"{path.name}: {problem.strerror}"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return str(error)


def opportunistic_client() -> ssl.SSLContext:
    """Return a context that takes any certificate: encryption against listeners, the chain left to the caller."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(_OPPORTUNISTIC_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION
    return context


def authenticated_client(roots: Path | None = None, *, beside_system: bool = False) -> ssl.SSLContext:
    """Return a context that demands a certificate for the name asked for, under `roots` (PEM) or the system's roots.

    With `beside_system` both count.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION
    if roots is None or beside_system:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if roots is not None:
        context.load_verify_locations(roots)
    return context


def inspect(connection: ssl.SSLObject, context: ssl.SSLContext) -> TlsState:
    """Return what the finished handshake of `connection`, made with `context`, showed."""
    name, _, bits = connection.cipher() or ("", "", 0)
    chain = _peer_chain(connection)
    bindings: dict[str, tuple[bytes, ...]] = {}
    if isinstance(context, _Context):
        bindings["tls-server-end-point"] = context.end_points
    elif chain:
        bindings["tls-server-end-point"] = (end_point(x509.load_der_x509_certificate(chain[0])),)
    version = connection.version() or ""
    # RFC 9266 section 3: tls-unique is not defined for TLS 1.3.
    if version != "TLSv1.3" and (unique := connection.get_channel_binding("tls-unique")):
        bindings["tls-unique"] = (unique,)
    return TlsState(
        version=version,
        cipher=name,
        cipher_bits=bits,
        peer_chain=chain,
        validated_chain=_chain(connection, "get_verified_chain")
        if chain and context.verify_mode != ssl.CERT_NONE
        else (),
        bindings={kind: values for kind, values in bindings.items() if values},
        application=connection.selected_alpn_protocol() or "",
    )


def end_point(certificate: x509.Certificate) -> bytes:
    """Return the `tls-server-end-point` binding of a server's certificate (RFC 5929 section 4.1).

    The hash is that of the certificate's signature algorithm, with SHA-256 in place of MD5 and SHA-1, and where the
    algorithm has no single hash (EdDSA).
    """
    signed_with = certificate.signature_hash_algorithm
    name = signed_with.name if signed_with is not None else "sha256"
    if name in ("md5", "sha1"):
        name = "sha256"
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


def _first_certificate(chain: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain.read_bytes())[0]


def _peer_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    leaf = connection.getpeercert(binary_form=True)
    if not leaf:
        return ()  # asked for the chain of a client that showed none, Python gives a list of None
    return _chain(connection, "get_unverified_chain") or (leaf,)


def _chain(connection: ssl.SSLObject, method: str) -> tuple[bytes, ...]:
    # Public only from Python 3.13 on; before, the same call stands one level down.
    get: Callable[[], list[bytes] | None] | None = getattr(connection, method, None)
    if get is not None:
        return tuple(get() or ())
    inner = getattr(connection, "_sslobj", None)
    certificates = (getattr(inner, method)() if inner is not None else None) or ()
    return tuple(certificate.public_bytes(_ENCODING_DER) for certificate in certificates)


_ENCODING_DER = 2  # _ssl.ENCODING_DER
