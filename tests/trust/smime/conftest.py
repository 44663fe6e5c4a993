"""An authority and people with certificates, made once a run."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.issue import Authority
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.sign import Signer

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Person:
    """A key, its certificate and the address it is for."""

    address: str
    key: PrivateKey
    certificate: Certificate

    @property
    def signer(self) -> Signer:
        return Signer(self.key, self.certificate)

    @property
    def ring(self) -> KeyRing:
        return KeyRing((Own(self.key, self.certificate),))


@functools.cache
def _authority() -> Authority:
    return issue.found(key_pairs.generate("p256"), Name.make(O="Rosewood", CN="Rosewood Mail CA"), NOW, 3650, 1)


class People:
    """Makes and remembers people by the name before the at sign and the kind of their key."""

    now = NOW
    _kept: ClassVar[dict[str, tuple[bytes, bytes]]] = {}

    def remembered(self, name: str, make: Callable[[], tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """Return what `make` made the first time in this run."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    @property
    def authority(self) -> Authority:
        return _authority()

    @property
    def anchor(self) -> Anchor:
        return Anchor.of(_authority().certificate)

    def trust(self, **more: object) -> Trust:
        return Trust(NOW, (self.anchor,), **more)  # type: ignore[arg-type]

    def named(self, name: str, kind: str = "p256") -> Person:
        return _person(name, kind)


@functools.cache
def _person(name: str, kind: str) -> Person:
    key = key_pairs.generate(kind, legacy=True)
    address = f"{name}@rosewood.test"
    certificate = issue.certify(
        _authority(), key.public, Name.make(CN=name.title()), (address,), issue.usages_of(key.public),
        when=NOW, days=365, serial=issue.serial_number((name + kind).encode().ljust(16, b"x")[:16]),
    )  # fmt: skip
    return Person(address, key, certificate)


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def message() -> bytes:
    return (
        b"From: Ada <ada@rosewood.test>\r\nTo: Bob <bob@rosewood.test>\r\nSubject: Secret plans\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@rosewood.test>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Grüße,  \r\nFrom here on\r\n".encode()
    )
