"""How `letterlock mail` encrypts: to which certificates, after asking about them, with which cipher, and what is told of it.

A recipient's certificate comes from the key store, or else from the DNS (SMIMEA) where a resolver was chosen. One that has
run out or was revoked is not encrypted to; where that could not be told the author is told so, or the certificate is refused
with `--require-revocation`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from letterlock.cli import smime_files as files
from letterlock.cli.smime_choice import sentence, told
from letterlock.errors import NotAuthentic, OurFault
from letterlock.formats.address import Address
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.interface import Resolver
from letterlock.mua import protect
from letterlock.mua.compose import Composed
from letterlock.mua.protect import Ciphers
from letterlock.registrar import usable
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.usable import Encryptable
from letterlock.trust.pkix.path import Pool, find
from letterlock.trust.pkix.revocation import Revocation, Status
from letterlock.trust.smime.choose_cipher import Group, label
from letterlock.trust.smime.look_up import Found, find_certificates
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.recipients import check_recipient

About = Mapping[Certificate, Trust]
Ask = Callable[[Sequence[Certificate], Trust], About]
LookUp = Callable[[list[str]], dict[str, Found]]


def _ask_nobody(certificates: Sequence[Certificate], trust: Trust) -> About:
    return dict.fromkeys(certificates, trust)


@dataclass(frozen=True, slots=True)
class Sealing:
    """How mail is encrypted: what may be written, whether revocation must be known, and who is asked about certificates.

    `look_up` asks the domains of recipients for whom the store has nothing; None asks nobody.
    """

    ciphers: Ciphers = field(default_factory=Ciphers)
    require_revocation: bool = False
    ask: Ask = _ask_nobody
    look_up: LookUp | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """The messages to send, one but where the author accepts more, and what each recipient gets, and why."""

    messages: tuple[Composed, ...]
    groups: tuple[Group, ...]
    found: Mapping[str, Encryptable]

    @property
    def value(self) -> list[dict[str, object]]:
        """What is told of each recipient, for programs."""
        return [
            {
                **told(member, group.cipher, self.found[member.address].recipient.certificate),
                "revocation": self.found[member.address].revocation.status.value,
                "revocation_reason": self.found[member.address].revocation.reason,
                "copy": number,
            }
            for number, group in enumerate(self.groups, 1)
            for member in group.members
        ]

    @property
    def sentences(self) -> list[str]:
        """What is told of each recipient, for people who want to know more."""
        return [sentence(member, group.cipher) for group in self.groups for member in group.members]

    @property
    def unknown(self) -> list[str]:
        """Of whom revocation could not be told."""
        return [
            f"the certificate of {address} may have been revoked, which could not be told: {each.revocation.reason}"
            for address, each in self.found.items()
            if each.revocation.status is Status.UNKNOWN
        ]

    @property
    def notes(self) -> list[str]:
        """What everybody should know: of whom revocation could not be told, and who gets a weaker copy."""
        weaker = [
            f"{', '.join(group.addresses)} got a copy in {label(group.cipher)}, by which the other copies can be read, too"
            for group in self.groups[1:]
        ]
        return self.unknown + weaker


def sealed(store: KeyStore, composed: Composed, author: str, sealing: Sealing) -> Sealed:
    """Encrypt a message to all its recipients and the author. Raises OurFault with what is missing."""
    addresses = [str(recipient.forward_path) for recipient in composed.envelope.recipients]
    found = _found(store, addresses, sealing)
    own = usable.to_keep_readable(store, author, files.now())
    recipients = [each.recipient for each in found.values()]
    messages, groups = protect.encrypt(composed, recipients, own, sealing.ciphers)
    return Sealed(messages, groups, found)


def _found(store: KeyStore, addresses: list[str], sealing: Sealing) -> dict[str, Encryptable]:
    """Return how to encrypt to each address: by the store, else by what its own domain says (RFC 8162)."""
    trust = dataclasses.replace(usable.trust_of(store, files.now()), require_revocation=sealing.require_revocation)
    wanted = [each for address in addresses for each in usable.candidates(store, address, trust.when)]
    about = sealing.ask(wanted, trust)
    found: dict[str, Encryptable] = {}
    missing: dict[str, str] = {}
    for address in addresses:
        try:
            found[address] = usable.to_encrypt_to(store, address, trust, about)
        except OurFault as fault:
            missing[address] = str(fault)
    if missing and sealing.look_up is None:
        raise OurFault(f"{next(iter(missing.values()))}; with --resolver its domain is asked (SMIMEA)")
    looked_up = sealing.look_up(list(missing)) if missing and sealing.look_up is not None else {}
    for address, reason in missing.items():
        published = looked_up[address]
        if not published.certificates:
            raise OurFault(f"{reason}, and {published.reason}")
        found[address] = _vouched_for(store, address, published.certificates, trust, sealing.ask)
    return {address: found[address] for address in addresses}


def _vouched_for(
    store: KeyStore, address: str, published: tuple[Certificate, ...], trust: Trust, ask: Ask
) -> Encryptable:
    """Return how to encrypt to the first usable certificate that a domain publishes for an address of its own.

    A record is withdrawn when its certificate is: that is what is known of one whose authority is nobody's one trusts. Raises
    OurFault where authorities one trusts say that all were revoked.
    """
    reason = ""
    for certificate in published:
        recipient = usable.recipient_of(store, address, certificate)
        try:
            find(certificate, Pool(trust.certificates), trust.anchors, trust.when)
        except NotAuthentic:
            return Encryptable(recipient, Revocation(Status.GOOD, "says its domain, which publishes it (SMIMEA)"))
        try:
            return Encryptable(recipient, check_recipient(certificate, ask((certificate,), trust)[certificate]))
        except NotAuthentic as fault:
            reason = reason or str(fault)
    raise OurFault(f"the certificate that its domain publishes for {address} is not usable: {reason}")


async def look_up(store: KeyStore, addresses: list[str], resolver: Resolver) -> dict[str, Found]:
    """Return what the DNS says, validated, of the certificates of some addresses."""
    trust = usable.trust_of(store, files.now())
    asked = [
        find_certificates(Address.parse(each), trust.when, trust.certificates, trust.anchors) for each in addresses
    ]
    found = await asyncio.gather(*(drive(one, resolver) for one in asked))
    return dict(zip(addresses, found, strict=True))
