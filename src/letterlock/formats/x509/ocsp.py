"""OCSP: what a responder says about certificates, and how it is asked.

Standards: RFC 6960 sections 4.1 and 4.2.
Limits: 1 MiB an answer, 256 certificates in it.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason
from letterlock.formats.x509.extension_writer import extension
from letterlock.formats.x509.extensions import split
from letterlock.formats.x509.name import Name

MAX_RESPONSE_OCTETS = 1 << 20


class CertificateStatus(enum.Enum):
    """What the responder knows."""

    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class CertificateId:
    """Which certificate, by hashes of its issuer's name and key, and its number."""

    digest_algorithm: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    @classmethod
    def parse(cls, element: Element) -> CertificateId:
        """Read a CertID; raises Malformed."""
        fields = Fields(element)
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE)).oid
        name, key = fields.take(tags.OCTET_STRING).octet_string(), fields.take(tags.OCTET_STRING).octet_string()
        serial = fields.take(tags.INTEGER).integer()
        fields.finish()
        return cls(algorithm, name, key, serial)

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(
            AlgorithmIdentifier(self.digest_algorithm, NULL).encode(),
            writer.octet_string(self.issuer_name_hash),
            writer.octet_string(self.issuer_key_hash),
            writer.integer(self.serial),
        )


@dataclass(frozen=True, slots=True)
class SingleResponse:
    """The status of one certificate, and for how long the answer holds."""

    certificate: CertificateId
    status: CertificateStatus
    this_update: datetime.datetime
    next_update: datetime.datetime | None = None
    revoked_at: datetime.datetime | None = None
    reason: Reason = Reason.UNSPECIFIED

    @classmethod
    def parse(cls, element: Element) -> SingleResponse:
        """Read a SingleResponse; raises Malformed."""
        fields = Fields(element)
        identifier = CertificateId.parse(fields.take(tags.SEQUENCE))
        choice = fields.any()
        this_update = fields.take(tags.GENERALIZED_TIME).time()
        following = fields.optional(tags.context(0))
        extensions = fields.optional(tags.context(1))
        fields.finish()
        if extensions is not None and any(critical for _oid, critical, _value in split(extensions.only_child())):
            raise element.fault("a critical extension not known here", "RFC 6960 section 4.4")
        next_update = None if following is None else following.only_child().time()
        if choice.tag not in (tags.context(0), tags.context(1), tags.context(2)):
            raise choice.fault("no certificate status", "RFC 6960 section 4.2.1")
        status = CertificateStatus(choice.tag ^ 0x80)
        if status is not CertificateStatus.REVOKED:
            return cls(identifier, status, this_update, next_update)
        inner = Fields(choice.retagged(tags.SEQUENCE))
        when = inner.take(tags.GENERALIZED_TIME).time()
        why = inner.optional(tags.context(0))
        try:
            reason = Reason.UNSPECIFIED if why is None else Reason(why.only_child().integer())
        except ValueError:
            raise choice.fault("no reason code", "RFC 5280 section 5.3.1") from None
        return cls(identifier, status, this_update, next_update, when, reason)

    def encode(self) -> bytes:
        """Return the DER."""
        if self.status is CertificateStatus.REVOKED:
            assert self.revoked_at is not None  # a revoked status says when
            reason = writer.explicit(0, writer.enumerated(self.reason.value))
            status = writer.implicit(1, writer.sequence(writer.generalized_time(self.revoked_at), reason))
        else:
            status = writer.implicit(self.status.value, writer.null())
        following = b""
        if self.next_update is not None:
            following = writer.explicit(0, writer.generalized_time(self.next_update))
        return writer.sequence(self.certificate.encode(), status, writer.generalized_time(self.this_update), following)


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A signed basic answer; the responder is named by name or by the SHA-1 of its key."""

    responder: Name | bytes
    produced_at: datetime.datetime
    responses: tuple[SingleResponse, ...]
    nonce: bytes
    certificates: tuple[bytes, ...] = field(repr=False)
    tbs: bytes = field(repr=False)
    signature_algorithm: AlgorithmIdentifier
    signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, octets: bytes) -> OcspResponse:
        """Read an OCSPResponse of status successful with a basic answer; raises Malformed."""
        if len(octets) > MAX_RESPONSE_OCTETS:
            raise Malformed(f"an OCSP answer of more than {MAX_RESPONSE_OCTETS} octets", clause="RFC 6960")
        root = Fields(reader.parse(octets))
        status = root.take(tags.ENUMERATED).integer()
        if status != 0:
            raise Malformed(f"the responder answered with status {status}", clause="RFC 6960 section 4.2.1")
        inner = Fields(root.take(tags.context(0)).only_child())
        if inner.oid() != oids.OCSP_BASIC:
            raise Malformed("an OCSP answer that is not a basic one", clause="RFC 6960 section 4.2.1")
        return cls._parse_basic(reader.parse(inner.take(tags.OCTET_STRING).octet_string()))

    @classmethod
    def _parse_basic(cls, element: Element) -> OcspResponse:
        fields = Fields(element)
        tbs = fields.take(tags.SEQUENCE)
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        signature = fields.take(tags.BIT_STRING).bit_octets()
        extra = fields.optional(tags.context(0))
        certificates = () if extra is None else tuple(each.encoded for each in extra.only_child().children())
        if len(certificates) > 256:
            raise element.fault("more than 256 certificates", "RFC 6960 section 4.2.1")
        inner = Fields(tbs)
        inner.optional(tags.context(0))
        who = inner.any()
        responder: Name | bytes
        if who.tag == tags.context(1):
            responder = Name.parse(who.only_child())
        else:
            responder = who.expect(tags.context(2)).only_child().octet_string()
        produced = inner.take(tags.GENERALIZED_TIME).time()
        responses = tuple(SingleResponse.parse(each) for each in inner.take(tags.SEQUENCE).children())
        extensions = inner.optional(tags.context(1))
        nonce = b""
        for oid, critical, value in [] if extensions is None else split(extensions.only_child()):
            if oid == oids.OCSP_NONCE:
                nonce = value.octet_string()
            elif critical:
                raise tbs.fault(f"a critical extension not known here: {oid}", "RFC 6960 section 4.4")
        return cls(responder, produced, responses, nonce, certificates, tbs.encoded, algorithm, signature)


def encode_response(
    responder_key_hash: bytes,
    produced_at: datetime.datetime,
    responses: tuple[SingleResponse, ...],
    algorithm: AlgorithmIdentifier,
    sign: Callable[[bytes], bytes],
    *,
    nonce: bytes = b"",
    certificates: tuple[Certificate, ...] = (),
) -> bytes:
    """Return a successful OCSPResponse, signed by `sign` with `algorithm`."""
    extensions = b""
    if nonce:
        extensions = writer.explicit(1, writer.sequence(extension(oids.OCSP_NONCE, nonce)))
    tbs = writer.sequence(
        writer.explicit(2, writer.octet_string(responder_key_hash)),
        writer.generalized_time(produced_at),
        writer.sequence(*(response.encode() for response in responses)),
        extensions,
    )
    chain = writer.explicit(0, writer.sequence(*(each.octets for each in certificates))) if certificates else b""
    basic = writer.sequence(tbs, algorithm.encode(), writer.bit_string(sign(tbs)), chain)
    body = writer.sequence(writer.oid(oids.OCSP_BASIC), writer.octet_string(basic))
    return writer.sequence(writer.enumerated(0), writer.explicit(0, body))


def encode_failure(status: int) -> bytes:
    """Return an OCSPResponse without an answer: 1 malformed request, 2 internal error, 6 unauthorized."""
    return writer.sequence(writer.enumerated(status))


def parse_request(octets: bytes) -> tuple[tuple[CertificateId, ...], bytes]:
    """Return the certificates an OCSPRequest asks about and its nonce, if any; raises Malformed."""
    if len(octets) > 1 << 16:
        raise Malformed("an OCSP request of more than 65536 octets", clause="RFC 6960 section 4.1")
    tbs = Fields(Fields(reader.parse(octets)).take(tags.SEQUENCE))
    tbs.optional(tags.context(0))
    tbs.optional(tags.context(1))
    asked = tuple(CertificateId.parse(Fields(each).take(tags.SEQUENCE)) for each in tbs.take(tags.SEQUENCE).children())
    extensions = tbs.optional(tags.context(2))
    nonce = b""
    for oid, _critical, value in [] if extensions is None else split(extensions.only_child()):
        if oid == oids.OCSP_NONCE:
            nonce = value.octet_string()[:64]
    return asked[:64], nonce


def encode_request(asked: tuple[CertificateId, ...], nonce: bytes = b"") -> bytes:
    """Return an unsigned OCSPRequest."""
    extensions = b""
    if nonce:
        value = extension(oids.OCSP_NONCE, writer.octet_string(nonce))
        extensions = writer.explicit(2, writer.sequence(value))
    requests = writer.sequence(*(writer.sequence(each.encode()) for each in asked))
    return writer.sequence(writer.sequence(requests, extensions))
