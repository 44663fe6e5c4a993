"""Certificates: read with all that path validation needs, and written for a certification authority to sign.

Standards: RFC 5280 section 4.1.
Limits: 64 KiB a certificate; 1,024 of at most 8 KiB are remembered.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509 import extensions
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.extensions import Extensions
from letterlock.formats.x509.name import Name, NameKind

MAX_CERTIFICATE_OCTETS = 1 << 16
MAX_REMEMBERED_OCTETS = 1 << 13


class Certificate(msgspec.Struct, frozen=True, eq=False):
    """A certificate. Two are equal when their octets are; `tbs` is what is signed."""

    octets: bytes
    tbs: bytes
    version: int
    serial: int
    issuer: Name
    not_before: datetime.datetime
    not_after: datetime.datetime
    subject: Name
    public_key: PublicKeyInfo
    extensions: Extensions
    signature_algorithm: AlgorithmIdentifier
    signature: bytes

    def __eq__(self, other: object) -> bool:
        return type(other) is Certificate and self.octets == other.octets

    def __hash__(self) -> int:
        return hash(self.octets)

    def __repr__(self) -> str:
        return f"<Certificate {self.serial:x} of {self.issuer} for {self.subject}>"

    @staticmethod
    def parse(octets: bytes) -> Certificate:
        """Read a certificate in DER (or BER); raises Malformed. The same octets are read once, if they are not many."""
        return (_parse_once if len(octets) <= MAX_REMEMBERED_OCTETS else _parse)(bytes(octets))

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name."""
        return self.subject == self.issuer

    @property
    def addresses(self) -> tuple[str, ...]:
        """The mail addresses it is for: alternative names first, then those in the subject's name (legacy)."""
        # RFC 8550 section 3: emailAddress in the name is read, and the alternative names are what counts
        found = [
            name.text
            for name in self.extensions.subject_alt_names
            if name.kind is NameKind.EMAIL or name.type_id == oids.SMTP_UTF8_MAILBOX
        ]
        return tuple(dict.fromkeys((*found, *self.subject.values(oids.EMAIL_ADDRESS))))

    @property
    def identifier(self) -> tuple[Name, int]:
        """Issuer and serial number, which name it (RFC 5652 section 10.2.4)."""
        return self.issuer, self.serial


def _parse(octets: bytes) -> Certificate:
    if len(octets) > MAX_CERTIFICATE_OCTETS:
        raise Malformed(f"a certificate of more than {MAX_CERTIFICATE_OCTETS} octets", clause="RFC 5280 section 4.1")
    fields = Fields(reader.parse(octets))
    tbs = fields.take(tags.SEQUENCE)
    algorithm = fields.take(tags.SEQUENCE)
    signature = fields.take(tags.BIT_STRING).bit_octets()
    fields.finish()
    inner = Fields(tbs)
    version = inner.optional(tags.context(0))
    number = 1 if version is None else version.only_child().integer() + 1
    serial = inner.take(tags.INTEGER).integer()
    # RFC 5280 section 4.1.1.2
    if inner.take(tags.SEQUENCE).encoded != algorithm.encoded:
        raise algorithm.fault("two different signature algorithms", "RFC 5280 section 4.1.1.2")
    issuer = Name.parse(inner.any())
    validity = Fields(inner.take(tags.SEQUENCE))
    not_before, not_after = validity.any().time(), validity.any().time()
    subject = Name.parse(inner.any())
    key = PublicKeyInfo.parse(inner.take(tags.SEQUENCE))
    inner.optional(tags.context(1))
    inner.optional(tags.context(2))
    more = inner.optional(tags.context(3))
    inner.finish()
    return Certificate(
        octets=octets,
        tbs=tbs.encoded,
        version=number,
        serial=serial,
        issuer=issuer,
        not_before=not_before,
        not_after=not_after,
        subject=subject,
        public_key=key,
        extensions=Extensions() if more is None else extensions.parse(more.only_child()),
        signature_algorithm=AlgorithmIdentifier.parse(algorithm),
        signature=signature,
    )


_parse_once = functools.lru_cache(maxsize=1024)(_parse)


def forget() -> None:
    """Begin with an empty memory again."""
    _parse_once.cache_clear()


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What a certification authority is about to certify; `extensions` are encoded (see extension_writer)."""

    serial: int
    issuer: Name
    not_before: datetime.datetime
    not_after: datetime.datetime
    subject: Name
    public_key: PublicKeyInfo
    extensions: tuple[bytes, ...] = ()

    def sign(self, algorithm: AlgorithmIdentifier, sign: Callable[[bytes], bytes]) -> Certificate:
        """Return the certificate whose signature `sign` makes with `algorithm`."""
        tbs = writer.sequence(
            writer.explicit(0, writer.integer(2)),
            writer.integer(self.serial),
            algorithm.encode(),
            self.issuer.encoded,
            writer.sequence(writer.time(self.not_before), writer.time(self.not_after)),
            self.subject.encoded,
            self.public_key.encoded,
            writer.explicit(3, writer.sequence(*self.extensions)) if self.extensions else b"",
        )
        return Certificate.parse(signed(tbs, algorithm, sign))


def signed(tbs: bytes, algorithm: AlgorithmIdentifier, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the SIGNED macro of X.509 around `tbs`: certificates, lists and requests share it."""
    return writer.sequence(tbs, algorithm.encode(), writer.bit_string(sign(tbs)))


def signed_fields(element: Element) -> tuple[Element, AlgorithmIdentifier, bytes]:
    """Return what is signed, the algorithm and the signature of a SIGNED structure."""
    fields = Fields(element)
    tbs = fields.take(tags.SEQUENCE)
    algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
    signature = fields.take(tags.BIT_STRING).bit_octets()
    fields.finish()
    return tbs, algorithm, signature
