"""Choose the cipher for a message: by what each recipient can read, in the order of the standard's rules.

1. Known capabilities: the first in the recipient's list that we can write; what a signed message announced, else what the
   certificate says.
2. Unknown capabilities, but an encrypted message came: what the correspondent used.
3. Nothing known: `Unknown` decides; by itself AES-256 in GCM mode for a key that S/MIME 4 brought into use (an elliptic
   curve), as RFC 8551 section 2.7.1.2 asks, else the AES-128 in CBC mode that it allows: what cannot be read at all is sent
   again in clear.
4. Weak encryption (RC2 with 40 bits, Triple-DES): never, unless the legacy setting says so and nothing better is there.

Recipients with nothing in common get two messages, and only if the user accepts the named weaker copy.

Standards: RFC 8551 sections 2.7.1 and 2.7.2, RFC 5751 section 2.7.1, RFC 4262 (capabilities in a certificate).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms.capabilities import Capability, parse
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.smime.capabilities import ciphers

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
    capabilities: tuple[Capability, ...] | None = None
    last_used: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Recipients who get the same message, and the cipher with its reason.

    `bind_key` tells whether all announced that they can read a content key bound to its cipher (RFC 9709 section 4).
    """

    cipher: str
    addresses: tuple[str, ...]
    rule: Rule
    reason: str
    bind_key: bool = False

    @property
    def is_weak(self) -> bool:
        """Whether the cipher is one of the past."""
        return self.cipher in WEAK


@dataclass(frozen=True, slots=True)
class Choice:
    """One group, or two of which the weaker needs the user's consent; `refused` are recipients nothing can reach."""

    groups: tuple[Group, ...]
    refused: tuple[str, ...] = ()

    @property
    def needs_consent(self) -> bool:
        """Whether a weaker copy would go out, which would make the better one's secrecy vain."""
        return len(self.groups) > 1 or any(group.is_weak for group in self.groups)


def readable(
    recipient: Recipient, *, legacy: bool = False, unknown: Unknown = Unknown.BY_KEY
) -> tuple[tuple[str, ...], Rule, str]:
    """Return the ciphers a recipient can read that we may write, the best first, with the rule and its reason."""
    writable = (*STRONG, *WEAK) if legacy else STRONG
    for known, reason in (
        (recipient.capabilities, f"{recipient.address} announced it"),
        (_in_certificate(recipient.certificate), f"the certificate of {recipient.address} says so"),
    ):
        if known is not None:
            return tuple(each for each in ciphers(known) if each in writable), Rule.KNOWN_CAPABILITIES, reason
    if recipient.last_used in writable:
        return (recipient.last_used,), Rule.KNOWN_USE, f"{recipient.address} used it last"
    is_modern = recipient.certificate.public_key.algorithm.oid in _ELLIPTIC
    if unknown is Unknown.GCM or (unknown is Unknown.BY_KEY and is_modern):
        return STRONG, Rule.UNKNOWN, f"nothing is known of {recipient.address}: what RFC 8551 asks everybody to read"
    cbc = (oids.AES128_CBC, oids.AES256_CBC, oids.AES192_CBC)
    return cbc, Rule.UNKNOWN, f"nothing is known of {recipient.address}: what RFC 5751 asks everybody to read"


def _in_certificate(certificate: Certificate) -> tuple[Capability, ...] | None:
    """Return what a certificate says its holder reads (RFC 4262), None where it names no content cipher."""
    encoded = certificate.extensions.smime_capabilities
    if encoded is None:
        return None
    try:
        found = parse(reader.parse(encoded))
    except Malformed:
        return None
    return found if ciphers(found) else None


def choose(recipients: Sequence[Recipient], *, legacy: bool = False, unknown: Unknown = Unknown.BY_KEY) -> Choice:
    """Choose for all recipients of a message at once."""
    offers = [(recipient, *readable(recipient, legacy=legacy, unknown=unknown)) for recipient in recipients]
    refused = tuple(recipient.address for recipient, found, _rule, _reason in offers if not found)
    offers = [offer for offer in offers if offer[1]]
    if not offers:
        return Choice((), refused)
    strong = [offer for offer in offers if any(cipher in STRONG for cipher in offer[1])]
    weak = [offer for offer in offers if offer not in strong]
    groups = []
    for members in (strong, weak):
        while members:
            cipher, rule, reason = _common(members)
            served = [offer for offer in members if cipher in offer[1]]
            bind_key = all(_BINDS in (offer[0].capabilities or ()) for offer in served)
            groups.append(Group(cipher, tuple(offer[0].address for offer in served), rule, reason, bind_key))
            members = [offer for offer in members if cipher not in offer[1]]
    return Choice(tuple(groups), refused)


def _common(offers: list[tuple[Recipient, tuple[str, ...], Rule, str]]) -> tuple[str, Rule, str]:
    """Return the cipher that serves most of `offers`; among equals the one preferred first."""
    if len(offers) == 1:
        _recipient, found, rule, reason = offers[0]
        cipher = found[0]
        return cipher, Rule.WEAK if cipher in WEAK else rule, reason
    ranking = (*STRONG, *WEAK)
    counts = {cipher: sum(cipher in offer[1] for offer in offers) for cipher in ranking}
    cipher = max(ranking, key=lambda each: (counts[each], -ranking.index(each)))
    rule = max((offer[2] for offer in offers if cipher in offer[1]), key=lambda each: each.value)
    return cipher, Rule.WEAK if cipher in WEAK else rule, "all who get this copy can read it"
