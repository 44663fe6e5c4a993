"""Sign and encrypt what goes out, open and judge what came in, for one person.

The subject and the other fields people read are protected too. A message is encrypted once for all its recipients and
the author; where that would take a weaker cipher for some, nothing goes out and the reason is told, unless the author
accepts that they get a copy of their own.

Standards: RFC 8551 sections 2.7 and 3, RFC 9788 (header protection), RFC 8551 section 2.5.2 (capabilities).
See also: trust/smime/choose_cipher.py, trust/smime/proof.py, registrar/key_store.py.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from letterlock.errors import Malformed, OurFault
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms import capabilities, key_preference, signed
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.mua.compose import Composed
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.smime import protect
from letterlock.trust.smime.capabilities import Remembered, UsedCipher
from letterlock.trust.smime.choose_cipher import Group, Recipient, Unknown, choose, label
from letterlock.trust.smime.decrypt import KeyRing, content_cipher
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.entities import split
from letterlock.trust.smime.header_protection import restore
from letterlock.trust.smime.labels import LabelRules, may_read_layers
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.reveal import with_protected_fields
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, Unwrapped, unwrap
from letterlock.trust.smime.verify import Check, candidates

Complete = Callable[[Unwrapped, Trust], Trust]


def sign(composed: Composed, signer: Signer, when: datetime.datetime, token: str) -> Composed:
    """Return the message signed in clear, its header fields included."""
    content = protect.sign_message(composed.content, (signer,), when, protect_header=True, token=token)
    return dataclasses.replace(composed, content=content)


@dataclass(frozen=True, slots=True)
class Ciphers:
    """What may be written: to those of whose programs nothing is known, ciphers of the past, and copies in a weaker one."""

    unknown: Unknown = Unknown.BY_KEY
    legacy: bool = False
    accept_weaker: bool = False


def encrypt(
    composed: Composed, recipients: Sequence[Recipient], author: Certificate | None, ciphers: Ciphers
) -> tuple[tuple[Composed, ...], tuple[Group, ...]]:
    """Return the message encrypted to all recipients (and the author, to read the copy that is kept), and how it was chosen.

    Where they have no cipher in common, and the author accepts that, it is as many messages as groups, the strongest first.
    Raises OurFault with the reason where it cannot be so.
    """
    choice = choose(recipients, legacy=ciphers.legacy, unknown=ciphers.unknown)
    if choice.refused:
        raise OurFault("; ".join(choice.refused.values()))
    if choice.needs_consent and not ciphers.accept_weaker:
        weak = choice.groups[-1]
        raise OurFault(
            f"{', '.join(weak.addresses)} would get a copy in {label(weak.cipher)}, which is weaker and makes the secrecy of"
            " any other vain: send it apart, or accept that (--accept-weaker)"
        )
    messages = tuple(_sealed_for(composed, recipients, group, author, legacy=ciphers.legacy) for group in choice.groups)
    return messages, choice.groups


def _sealed_for(
    composed: Composed, recipients: Sequence[Recipient], group: Group, author: Certificate | None, *, legacy: bool
) -> Composed:
    """Return the message for one group."""
    certificates = [each.certificate for each in recipients if each.address in group.addresses]
    to = tuple(To(each) for each in dict.fromkeys([*certificates, *([author] if author is not None else [])]))
    content = protect.encrypt_message(
        composed.content, to, cipher=group.cipher, protect_header=True, bind_key=group.bind_key, legacy=legacy
    )
    before = composed.envelope
    served = tuple(each for each in before.recipients if str(each.forward_path) in group.addresses)
    return dataclasses.replace(composed, content=content, envelope=dataclasses.replace(before, recipients=served))


@dataclass(frozen=True, slots=True)
class Learned:
    """What a good signature teaches of its author: certificates, what the author can read, and which cipher was used."""

    certificates: tuple[Certificate, ...] = ()
    announced: Remembered | None = None
    used: UsedCipher | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A message as it can be read: its octets with protected fields in their place, and what its signatures prove.

    `fault` tells why it could not be opened, or may not be shown. `learned` is what an author's good signature teaches;
    `signatures` are all of them without the content, for the log. `withheld` where a label forbids to show the rest.
    `unwrapped` are the layers of what may be shown.
    """

    content: bytes
    proof: Proof
    protected: bool
    fault: str = ""
    learned: Learned = Learned()
    signatures: tuple[bytes, ...] = ()
    withheld: bool = False
    unwrapped: Unwrapped | None = field(default=None, repr=False)


def open_message(
    octets: bytes,
    ring: KeyRing,
    trust: Trust,
    reader: str = "",
    rules: LabelRules | None = None,
    complete: Complete | None = None,
) -> Opened:
    """Open a message; one that is not S/MIME comes back as it is.

    With `rules`, what its security label does not let `reader` see is not shown: the reason stands in its place. `complete`
    looks for what else is to be known of its signers.
    """
    unwrapped = unwrap(octets, ring, trust.certificates)
    if complete is not None:
        trust = complete(unwrapped, trust)
    if rules is not None:
        reading = may_read_layers(unwrapped.layers, reader, rules)
        if not reading.allowed:
            return _withheld(octets, unwrapped, trust, reading.reason)
    return judge(octets, unwrapped, trust)


def _withheld(octets: bytes, unwrapped: Unwrapped, trust: Trust, reason: str) -> Opened:
    """Return the outer fields of a message with a sentence in place of the rest."""
    notice = f"The security label forbids showing this message: {reason}."
    head = split(octets).outer + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    proof = prove(read_header(octets), unwrapped, trust)
    return Opened(head + notice.encode() + b"\r\n", proof, True, notice, withheld=True)


def judge(octets: bytes, unwrapped: Unwrapped, trust: Trust) -> Opened:
    """Return what a message, taken apart already, shows and proves."""
    proof = prove(read_header(octets), unwrapped, trust)
    if not unwrapped.layers:
        return Opened(octets, proof, False, unwrapped.fault)
    signatures = detached_signatures(unwrapped)
    closed = any(isinstance(layer, EncryptedLayer) and layer.opened is None for layer in unwrapped.layers)
    if unwrapped.fault or closed:
        return Opened(octets, proof, True, unwrapped.fault, signatures=signatures, unwrapped=unwrapped)
    inner = _RECEIPT if unwrapped.content_type == oids.RECEIPT else unwrapped.content
    content = restore(with_protected_fields(split(octets).outer, unwrapped), inner)
    return Opened(content, proof, True, "", learned(unwrapped, proof, trust.when), signatures, unwrapped=unwrapped)


# a receipt is no text: this stands for it
_RECEIPT = b"Content-Type: text/plain\r\n\r\nThis is a signed receipt.\r\n"


def learned(unwrapped: Unwrapped, proof: Proof, when: datetime.datetime) -> Learned:
    """Return what is worth keeping of a message; nothing of one whose signature does not prove good."""
    layers = [layer for layer in unwrapped.layers if isinstance(layer, SignedLayer) and layer.checks]
    if not proof.good or not layers:
        return Learned()
    return Learned(
        _certificates(layers[-1]), _announced(layers[-1], proof, when), _used(unwrapped, layers[-1], proof, when)
    )


def detached_signatures(unwrapped: Unwrapped) -> tuple[bytes, ...]:
    """Return every layer's signatures without the content they cover, with the certificates that came along."""
    return tuple(
        signed.encode(found.content_type, None, found.signers, found.certificates, found.crls)
        for layer in unwrapped.layers
        if isinstance(layer, SignedLayer) and (found := layer.signed).signers
    )


def _certificates(layer: SignedLayer) -> tuple[Certificate, ...]:
    """Return the certificates of who signed, and those they want mail encrypted to (RFC 8551 section 2.5.3)."""
    found: dict[Certificate, None] = {}
    for check in layer.checks:
        if check.good and check.certificate is not None:
            found[check.certificate] = None
            if (other := _preferred(check, check.certificate, layer)) is not None:
                found[other] = None
    return tuple(found)


def _preferred(check: Check, signing: Certificate, layer: SignedLayer) -> Certificate | None:
    """Return what a signer wants mail encrypted to, of the certificates that came along; none of somebody else's."""
    try:
        named = key_preference.preferred(check.signer.signed)
    except Malformed:
        return None
    own = {comparable(address) for address in signing.addresses}
    for each in candidates(layer.signed.certificates) if named is not None else ():
        if named is not None and named.names(each) and own >= {comparable(one) for one in each.addresses}:
            return each
    return None


def _announced(layer: SignedLayer, proof: Proof, when: datetime.datetime) -> Remembered | None:
    """Return what the author announced."""
    best = next(each for each in proof.signers if each.good)
    for check, time in _timed(layer, when):
        try:
            value = check.signer.signed.single(oids.SMIME_CAPABILITIES)
            if value is not None:
                return Remembered(best.address, capabilities.parse(reader.parse(value)), time)
        except Malformed:
            continue
    return None


def _used(unwrapped: Unwrapped, layer: SignedLayer, proof: Proof, when: datetime.datetime) -> UsedCipher | None:
    """Return the cipher of the innermost encryption, which is the author's own: lists pass keys on and change no cipher."""
    opened = [each for each in unwrapped.layers if isinstance(each, EncryptedLayer) and each.opened is not None]
    if not opened:
        return None
    best = next(each for each in proof.signers if each.good)
    cipher, _bound = content_cipher(opened[-1].enveloped.algorithm)
    return next((UsedCipher(best.address, cipher.name, time) for _check, time in _timed(layer, when)), None)


def _timed(layer: SignedLayer, when: datetime.datetime) -> Iterator[tuple[Check, datetime.datetime]]:
    """Yield the good signatures with their times; none from the future (RFC 8551 section 2.7.1)."""
    for check in layer.checks:
        time = check.signing_time
        if check.good and time is not None and time <= when + datetime.timedelta(hours=1):
            yield check, time
