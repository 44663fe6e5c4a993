"""Choose the cipher for a message: by what each recipient can read, in the order of the standard's rules.

1. Known capabilities: the first in the recipient's list that we can write; what a signed message announced, else what the
   certificate says.
2. Unknown capabilities, but an encrypted message with a trusted signature came: what the correspondent used in the last
   one. S/MIME 3 had this rule; its successors left it out, and what somebody wrote in is still what they read best.
3. Nothing known: `Unknown` decides; by itself AES-256 in GCM mode for a key that S/MIME 4 brought into use (an elliptic
   curve), as RFC 8551 section 2.7.1.2 asks, else the AES-128 in CBC mode that it allows: what cannot be read at all is sent
   again in clear.
4. Weak encryption (RC2 with 40 bits, Triple-DES): never, unless the legacy setting says so and nothing better is there.

Recipients with nothing in common get two messages, and only if the user accepts the named weaker copy.

Standards: RFC 8551 sections 2.7.1 and 2.7.2, RFC 5751 section 2.7.1, RFC 4262 (capabilities in a certificate).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms.capabilities import Capability, parse
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.smime.capabilities import Remembered, UsedCipher, ciphers

STRONG = (oids.AES256_GCM, oids.AES128_GCM, oids.AES192_GCM, oids.AES256_CBC, oids.AES192_CBC, oids.AES128_CBC)
WEAK = (oids.DES3_CBC, f"{oids.RC2_CBC}/128", f"{oids.RC2_CBC}/64", f"{oids.RC2_CBC}/40")
_ELLIPTIC = frozenset({oids.EC_PUBLIC_KEY, oids.X25519, oids.X448})


class Rule(enum.Enum):
    """Which rule chose."""

    KNOWN_CAPABILITIES = 1
    KNOWN_USE = 2
    UNKNOWN = 3
    WEAK = 4


class Unknown(enum.Enum):
    """What somebody gets of whom nothing is known: by the kind of their key, or one of the two ciphers in any case."""

    BY_KEY = "by-key"
    GCM = "gcm"
    CBC = "cbc"


_BINDS = Capability(oids.CEK_HKDF_SHA256)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom the message is for: the certificate, what is known of capabilities, and which cipher was last received."""

    address: str
    certificate: Certificate
    announced: Remembered | None = None
    last_used: UsedCipher | None = None

    @property
    def capabilities(self) -> tuple[Capability, ...] | None:
        """What signed mail announced."""
        return None if self.announced is None else self.announced.capabilities


@dataclass(frozen=True, slots=True)
class Member:
    """One who gets a message: by which rule the cipher was chosen for them, and the reason with its evidence."""

    address: str
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Recipients who get the same message, and the cipher.

    `bind_key` tells whether all announced that they can read a content key bound to its cipher (RFC 9709 section 4).
    """

    cipher: str
    members: tuple[Member, ...]
    bind_key: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Who gets it."""
        return tuple(each.address for each in self.members)

    @property
    def rule(self) -> Rule:
        """The weakest of the rules by which it serves its members."""
        return max((each.rule for each in self.members), key=lambda rule: rule.value)

    @property
    def is_weak(self) -> bool:
        """Whether the cipher is one of the past."""
        return self.cipher in WEAK


@dataclass(frozen=True, slots=True)
class Choice:
    """One group, or more of which the later need the user's consent; `refused` are those nothing can reach, and why."""

    groups: tuple[Group, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_consent(self) -> bool:
        """Whether a weaker copy would go out, which would make the better one's secrecy vain."""
        return len(self.groups) > 1 or any(group.is_weak for group in self.groups)


@dataclass(frozen=True, slots=True)
class Readable:
    """The ciphers a recipient can read that we may write, the best first, by which rule, and why we think so."""

    recipient: Recipient
    ciphers: tuple[str, ...]
    rule: Rule
    reason: str

    def by(self, cipher: str) -> Member:
        """Return the recipient as one who gets this cipher."""
        return Member(self.recipient.address, Rule.WEAK if cipher in WEAK else self.rule, self.reason)


def readable(recipient: Recipient, *, legacy: bool = False, unknown: Unknown = Unknown.BY_KEY) -> Readable:
    """Return what a recipient can read: an empty list where that is nothing we may write, with the reason."""
    address, announced, used = recipient.address, recipient.announced, recipient.last_used
    if announced is not None and (named := ciphers(announced.capabilities)):
        said = f"{address} announced it in mail signed on {announced.signed_at:%Y-%m-%d}"
        return Readable(recipient, *_writable(named, said, address, legacy=legacy))
    if named := _in_certificate(recipient.certificate):
        return Readable(recipient, *_writable(named, f"the certificate of {address} says so", address, legacy=legacy))
    if used is not None and used.cipher in (*STRONG, *(WEAK if legacy else ())):
        # S/MIME 3, rule 2 of its four
        said = f"{address} announced nothing, and wrote in it last, in mail signed on {used.signed_at:%Y-%m-%d}"
        return Readable(recipient, (used.cipher,), Rule.KNOWN_USE, said)
    is_modern = recipient.certificate.public_key.algorithm.oid in _ELLIPTIC
    said = f"nothing is known of what {address} reads"
    if unknown is Unknown.GCM or (unknown is Unknown.BY_KEY and is_modern):
        return Readable(recipient, STRONG, Rule.UNKNOWN, f"{said}: what RFC 8551 asks everybody to read")
    cbc = (oids.AES128_CBC, oids.AES256_CBC, oids.AES192_CBC)
    return Readable(recipient, cbc, Rule.UNKNOWN, f"{said}: what RFC 5751 asks everybody to read")


def _writable(named: tuple[str, ...], said: str, address: str, *, legacy: bool) -> tuple[tuple[str, ...], Rule, str]:
    """Return what may be written of known capabilities, in their order; weak ones only where nothing better is there."""
    strong = tuple(each for each in named if each in STRONG)
    weak = tuple(each for each in named if each in WEAK)
    if strong or (weak and legacy):
        return strong or weak, Rule.KNOWN_CAPABILITIES, said
    names = ", ".join(map(label, named))
    why = "which is written only with the legacy setting" if weak else "which is not written here"
    return (), Rule.KNOWN_CAPABILITIES, f"{address} reads only {names}, {why}"


def label(cipher: str) -> str:
    """Return the name people know a cipher by."""
    oid, _, bits = cipher.partition("/")
    return f"{oids.label(oid)}/{bits}" if bits else oids.label(oid)


def _in_certificate(certificate: Certificate) -> tuple[str, ...]:
    """Return the content ciphers that a certificate says its holder reads (RFC 4262), nothing where it names none."""
    encoded = certificate.extensions.smime_capabilities
    if encoded is None:
        return ()
    try:
        return ciphers(parse(reader.parse(encoded)))
    except Malformed:
        return ()


def choose(recipients: Sequence[Recipient], *, legacy: bool = False, unknown: Unknown = Unknown.BY_KEY) -> Choice:
    """Choose for all recipients of a message at once."""
    found = [readable(recipient, legacy=legacy, unknown=unknown) for recipient in recipients]
    refused = {each.recipient.address: each.reason for each in found if not each.ciphers}
    strong = [each for each in found if each.ciphers and each.ciphers[0] in STRONG]
    weak = [each for each in found if each.ciphers and each.ciphers[0] in WEAK]
    groups = []
    for left in (strong, weak):
        while left:
            cipher = _common(left)
            served = [each for each in left if cipher in each.ciphers]
            bind_key = all(_BINDS in (each.recipient.capabilities or ()) for each in served)
            groups.append(Group(cipher, tuple(each.by(cipher) for each in served), bind_key))
            left = [each for each in left if cipher not in each.ciphers]
    return Choice(tuple(groups), refused)


def _common(found: list[Readable]) -> str:
    """Return the cipher that serves most; among equals the one they prefer, all in all, and then the strongest."""
    ranking = (*STRONG, *WEAK)

    def merit(cipher: str) -> tuple[int, int, int]:
        places = [each.ciphers.index(cipher) for each in found if cipher in each.ciphers]
        return len(places), -sum(places), -ranking.index(cipher)

    return max(ranking, key=merit)
