"""Take a message apart layer by layer: signatures checked, encryption opened, compression undone.

Only the whole body of a message is followed inwards. S/MIME parts that stand beside others in a multipart are listed
apart, for they say nothing about the rest; no plain text is ever put together from several of them, and none leaves a
layer whose check failed.

Standards: RFC 8551 sections 3.3 to 3.8, RFC 5652.
Limits: 16 layers, 32 parts, 256 MiB expanded.
"""

from __future__ import annotations

import binascii
import io
from collections.abc import Iterable
from dataclasses import dataclass, field

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.compressed import CompressedData
from letterlock.formats.cms.digested import AuthenticatedData, DigestedData
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime.canonical import canonical_lines
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.transfer import decode_even_base64
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import digests
from letterlock.trust.smime import stream
from letterlock.trust.smime.authenticated import open_authenticated
from letterlock.trust.smime.compress import MAX_EXPANDED_OCTETS, expand
from letterlock.trust.smime.decrypt import KeyRing, Opened, decrypt
from letterlock.trust.smime.entities import is_clear_signed, is_enveloping
from letterlock.trust.smime.verify import Check, verify

MAX_LAYERS = 16
MAX_PARTS = 32
LARGE_OCTETS = 1 << 18  # from here on it pays not to hold a SignedData and its content both
WHITE_SPACE = "white space at line ends was changed on the way, and nothing else"


@dataclass(frozen=True, slots=True)
class SignedLayer:
    """A layer of signatures; `clear` for multipart/signed. `faults` tell what is wrong beside the signatures."""

    checks: tuple[Check, ...]
    signed: SignedData = field(repr=False)
    clear: bool
    content: bytes = field(repr=False)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncryptedLayer:
    """A layer of encryption; `opened` is None where no key of ours fits, with the reason in `fault`."""

    enveloped: EnvelopedData = field(repr=False)
    opened: Opened | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class CompressedLayer:
    """A layer of compression, and what was in it."""

    compressed_octets: int
    expanded_octets: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DigestLayer:
    """A layer with a digest that anybody can make: it proves nothing, but shows damage."""

    intact: bool


@dataclass(frozen=True, slots=True)
class AuthenticatedLayer:
    """A layer with a code that sender and recipients alone can make, and that fits."""

    algorithm: str


Layer = SignedLayer | EncryptedLayer | CompressedLayer | DigestLayer | AuthenticatedLayer


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What the layers hold: `content` is the innermost entity that could be reached.

    `content_type` is what the innermost CMS layer calls it; `fault` tells why the last layer could not be read.
    `parts` are S/MIME parts that stand beside others: part number and their own layers. `ambiguities` are defects of the
    MIME structure, outside and inside, over which two readers may see different messages.
    """

    layers: tuple[Layer, ...]
    content: bytes = field(repr=False)
    content_type: str = oids.DATA
    fault: str = ""
    parts: tuple[tuple[str, Unwrapped], ...] = ()
    ambiguities: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """All certificates the layers brought."""
        return tuple(
            octets for layer in self.layers if isinstance(layer, SignedLayer) for octets in layer.signed.certificates
        )


def unwrap(
    message: bytes, ring: KeyRing | None = None, known: Iterable[Certificate] = (), detached: bytes | None = None
) -> Unwrapped:
    """Take a message or entity apart; whatever is wrong becomes a layer's or the whole's `fault`, nothing is raised.

    `detached` is content that a bare signature covers, for files.
    """
    return _Unwrapping(ring or KeyRing(), tuple(known)).message(message, detached)


def unwrap_cms(
    cms: bytes, ring: KeyRing | None = None, known: Iterable[Certificate] = (), detached: bytes | None = None
) -> Unwrapped:
    """Take a CMS object apart that did not come as mail."""
    unwrapping = _Unwrapping(ring or KeyRing(), tuple(known))
    return unwrapping.run(cms, b"", detached)


_NESTED = frozenset((
    oids.SIGNED_DATA, oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA, oids.ENCRYPTED_DATA, oids.COMPRESSED_DATA,
    oids.DIGESTED_DATA, oids.AUTHENTICATED_DATA,
))  # fmt: skip


def _unknown(content_type: str) -> Malformed:
    return Malformed(f"a content type not opened here: {oids.label(content_type)}", clause="RFC 5652 section 4")


class _Unwrapping:
    def __init__(self, ring: KeyRing, known: tuple[Certificate, ...]) -> None:
        self._ring = ring
        self._known = known
        self._layers: list[Layer] = []
        self._type = oids.DATA
        self._ambiguities: dict[str, None] = {}
        self._is_mail = False
        self._room = MAX_EXPANDED_OCTETS  # for all layers of compression together

    def message(self, message: bytes, detached: bytes | None = None) -> Unwrapped:
        self._is_mail = True
        return self.run(None, message, detached)

    def run(self, cms: bytes | None, octets: bytes, detached: bytes | None) -> Unwrapped:
        """Follow layers inwards from a CMS object, or from an entity if `cms` is None."""
        fault, innermost = "", None
        try:
            while len(self._layers) < MAX_LAYERS:
                if cms is None:
                    entity = self._parse(octets)
                    if is_clear_signed(entity):
                        octets = self._clear_signed(entity)
                        continue
                    if not is_enveloping(entity):
                        innermost = entity
                        break
                    content_type, octets = self._open_part(entity, detached)
                else:
                    content_type, octets = self._open(cms, detached)
                detached = None
                self._type = content_type
                cms = None
                if content_type in _NESTED:
                    cms = content.encode(content_type, octets)  # CMS directly inside CMS, without MIME between
                elif content_type == oids.RECEIPT:
                    break
                elif content_type != oids.DATA:
                    raise _unknown(content_type)
            else:
                fault = f"more than {MAX_LAYERS} layers"
        except (Malformed, NotAuthentic) as error:
            fault = str(error)
        parts = () if innermost is None else self._parts(innermost)
        return Unwrapped(tuple(self._layers), octets, self._type, fault, parts, tuple(self._ambiguities))

    def _parse(self, octets: bytes) -> Entity:
        entity = parse(octets)
        if self._is_mail and len(entity.header):  # without fields it is no MIME entity, but somebody's plain text
            self._ambiguities |= {each.kind.sentence: None for each in entity.all_defects() if each.kind.ambiguous}
        return entity

    def _open_part(self, entity: Entity, detached: bytes | None) -> tuple[str, bytes]:
        """Open the CMS object that is a part's body."""
        if detached is None and entity.encoding == "base64" and entity.size >= LARGE_OCTETS:
            found = self._signed_in_pieces(memoryview(entity.octets)[entity.body_start : entity.end])
            if found is not None:
                return found
        return self._open(_content_of(entity), detached)

    def _signed_in_pieces(self, encoded: memoryview) -> tuple[str, bytes] | None:
        """Open what is signed while it is decoded, so that it is never there beside its content.

        None for anything else, and where something is wrong with it, which is for `_open` to say.
        """
        memory = io.BytesIO(bytes(len(encoded) // 4 * 3))  # gives away the octets it was written into, uncopied
        try:
            found = stream.verify(decode_even_base64(encoded), memory.write, self._known)
        except Malformed:
            return None
        if not found.checks or not all(check.good for check in found.checks):
            return None
        memory.truncate()
        body = memory.getvalue()
        self._layers.append(SignedLayer(found.checks, found.signed, False, body))
        return found.signed.content_type, body

    def _open(self, cms: bytes, detached: bytes | None) -> tuple[str, bytes]:
        signed = SignedData.recognise(cms)
        if signed is not None:
            return self._signed(signed, detached)
        content_info_type, element = content.parse(cms)
        match content_info_type:
            case oids.SIGNED_DATA:
                return self._signed(SignedData.parse(element), detached)
            case oids.ENVELOPED_DATA | oids.AUTH_ENVELOPED_DATA | oids.ENCRYPTED_DATA:
                enveloped = EnvelopedData.parse(content_info_type, element)
                return self._decrypt(enveloped)
            case oids.COMPRESSED_DATA:
                compressed = CompressedData.parse(element)
                body = expand(compressed, limit=self._room)
                self._room -= len(body)
                self._layers.append(CompressedLayer(len(cms), len(body), body))
                return compressed.content_type, body
            case oids.DIGESTED_DATA:
                digested = DigestedData.parse(element)
                body = b"" if digested.content is None else digested.content.octet_string()
                self._layers.append(DigestLayer(digests.digest(digested.digest_algorithm, body) == digested.digest))
                return digested.content_type, body
            case oids.AUTHENTICATED_DATA:
                authenticated = AuthenticatedData.parse(element)
                body = open_authenticated(authenticated, self._ring)
                self._layers.append(AuthenticatedLayer(authenticated.mac_algorithm.label))
                return authenticated.content_type, body
            case oids.DATA:
                return oids.DATA, element.octet_string()
            case _:
                raise _unknown(content_info_type)

    def _signed(self, signed: SignedData, detached: bytes | None) -> tuple[str, bytes]:
        body = b"".join(signed.pieces()) if detached is None else detached
        checks = verify(signed, detached, self._known)
        self._layers.append(SignedLayer(checks, signed, False, body, _signer_faults(signed)))
        return signed.content_type, body

    def _decrypt(self, enveloped: EnvelopedData) -> tuple[str, bytes]:
        try:
            opened = decrypt(enveloped, self._ring)
        except (Malformed, NotAuthentic) as error:
            self._layers.append(EncryptedLayer(enveloped, None, str(error)))
            raise
        self._layers.append(EncryptedLayer(enveloped, opened))
        return opened.content_type, opened.content

    def _clear_signed(self, entity: Entity) -> bytes:
        """Check a multipart/signed; returns the octets that were signed, which are what is read on."""
        if len(entity.children) != 2:
            raise Malformed(f"a multipart/signed of {len(entity.children)} parts", clause="RFC 1847 section 2.1")
        first, second = entity.children
        if second.content_type.full not in ("application/pkcs7-signature", "application/x-pkcs7-signature"):
            raise Malformed("a multipart/signed whose second part is no CMS signature", clause="RFC 8551 section 3.5.3")
        signed = SignedData.read(_content_of(second))
        covered = first.raw
        checks = verify(signed, covered, self._known)
        faults = list(_signer_faults(signed, clear=True))
        if checks and not any(check.good for check in checks):
            canonical = canonical_lines(covered)  # a message from a file has lost its CRLF
            if canonical != covered:
                covered, checks = canonical, verify(signed, canonical, self._known)
            if not any(check.good for check in checks) and _differs_in_white_space(signed, covered, self._known):
                faults.append(WHITE_SPACE)
        self._layers.append(SignedLayer(checks, signed, True, covered, tuple(faults)))
        return covered

    def _parts(self, tree: Entity) -> tuple[tuple[str, Unwrapped], ...]:
        """Find S/MIME parts beside others, each taken apart on its own."""
        found: list[tuple[str, Unwrapped]] = []
        inside: list[Entity] = []
        for number, entity in tree.walk():
            if entity is tree or any(_contains(outer, entity) for outer in inside):
                continue
            if is_clear_signed(entity) or is_enveloping(entity):
                inside.append(entity)
                # keys stay out of it: what is decrypted inside a stranger's frame could be led out of it
                found.append((number, _Unwrapping(KeyRing(), self._known).message(entity.raw)))
                if len(found) >= MAX_PARTS:
                    break
        return tuple(found)


def _contains(outer: Entity, inner: Entity) -> bool:
    return outer.header_start <= inner.header_start and inner.end <= outer.end


def _content_of(entity: Entity) -> bytes:
    """Return the CMS object of a part; one that lost its transfer encoding's name is still recognised."""
    octets = entity.content()
    if octets[:1] != b"\x30":
        try:
            decoded = binascii.a2b_base64(octets)
        except binascii.Error:
            return octets
        if decoded[:1] == b"\x30":
            return decoded
    return octets


def _signer_faults(signed: SignedData, *, clear: bool = False) -> tuple[str, ...]:
    is_certificates_alone = not clear and signed.content is None and signed.certificates
    if not signed.signers and not is_certificates_alone:
        return ("nobody signed this signed message",)
    return ()


def _differs_in_white_space(signed: SignedData, covered: bytes, known: tuple[Certificate, ...]) -> bool:
    """Tell whether the signature would hold over the same text with other white space at its line ends."""
    lines = covered.split(b"\r\n")
    stripped = b"\r\n".join(line.rstrip(b" \t") for line in lines)
    without_end = stripped.rstrip(b"\r\n")
    for text in dict.fromkeys((stripped, without_end, without_end + b"\r\n", covered + b"\r\n")):
        if text != covered and any(check.good for check in verify(signed, text, known)):
            return True
    return False
