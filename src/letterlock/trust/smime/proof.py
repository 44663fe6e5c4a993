"""What the signatures of a message prove, as one value with one honest sentence.

A `Proof` is good only if a signature holds, its certificate leads to a trusted anchor and was not revoked, is for the
address in From or Sender, with algorithms still worth something, and covers the whole body. Everything that keeps it
from being good is listed, and so is what could not be told.

Standards: RFC 8550 sections 3 and 4, RFC 8551 section 2.5, RFC 5322 section 3.6.2 (From and Sender).
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.octets import visible
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.formats.x509.ocsp import OcspResponse
from letterlock.trust import policy
from letterlock.trust.pkix import path, revocation, smime_profile
from letterlock.trust.pkix.path import Anchor, Path, Pool
from letterlock.trust.pkix.revocation import Evidence, Revocation, Status
from letterlock.trust.policy import Standing
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime.header_protection import protected_header
from letterlock.trust.smime.multiple import missing_signatures
from letterlock.trust.smime.outside import changed_fields, identity_faults
from letterlock.trust.smime.unwrap import (
    AuthenticatedLayer,
    CompressedLayer,
    DigestLayer,
    EncryptedLayer,
    Layer,
    SignedLayer,
    Unwrapped,
)
from letterlock.trust.smime.verify import Check


class Role(enum.Enum):
    """Whose address the signer's certificate has."""

    FROM = "from"
    SENDER = "sender"
    NOBODY = "nobody"


class Coverage(enum.Enum):
    """How much of what people read the signatures cover."""

    WHOLE = "the whole body"
    PART = "only a part of the body"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a reader trusts and knows: anchors, further certificates, revocation evidence, the time.

    `troubles` says of whose revocation more was sought in vain, and why (gather.py).
    """

    when: datetime.datetime
    anchors: tuple[Anchor, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    crls: tuple[RevocationList, ...] = ()
    ocsp: tuple[OcspResponse, ...] = ()
    troubles: Mapping[Certificate, str] = field(default_factory=dict)
    accept_legacy: bool = False
    require_revocation: bool = False


@dataclass(frozen=True, slots=True)
class SignerProof:
    """What one signature proves. Empty `faults` is a good one; `unsure` lists what could not be told."""

    subject: str
    addresses: tuple[str, ...]
    address: str
    role: Role
    signature: str
    key: str
    signing_time: datetime.datetime | None
    chain: tuple[str, ...]
    revocation: Status
    revocation_reason: str
    standing: Standing
    expired_since_signing: bool
    faults: tuple[str, ...]
    unsure: tuple[str, ...]
    certificate: Certificate | None = field(default=None, repr=False)

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Proof:
    """What all layers of a message prove together."""

    good: bool
    sentence: str
    coverage: Coverage
    signers: tuple[SignerProof, ...]
    layers: tuple[str, ...]
    encrypted: bool
    protected_fields: tuple[str, ...]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def prove(header: Header, unwrapped: Unwrapped, trust: Trust) -> Proof:
    """Say what `unwrapped` proves about a message with the outer `header`."""
    signed = [layer for layer in unwrapped.layers if isinstance(layer, SignedLayer) and layer.checks]
    inner = protected_header(unwrapped.content) if signed else None
    claimed = _Claimed.of(header, inner)
    proofs = []
    faults = [
        *claimed.faults,
        *(f for layer in unwrapped.layers if isinstance(layer, SignedLayer) for f in layer.faults),
    ]
    if unwrapped.fault:
        faults.append(unwrapped.fault)
    if signed:
        faults += identity_faults(header)
        faults += (f"two readers may see different messages: {what}" for what in unwrapped.ambiguities)
    faults += filter(None, (missing_signatures(layer.checks) for layer in signed))
    # the innermost signature is the author's; outer ones are of those who passed the message on (RFC 2634 section 1.1)
    for layer in reversed(signed):
        evidence = _evidence(layer, trust)
        proofs += [_prove_signer(check, evidence, claimed, trust) for check in layer.checks]
    coverage = _coverage(unwrapped, bool(signed))
    authors = proofs[: len(signed[-1].checks)] if signed else []
    best = next((each for each in authors if each.good), None)
    if best is None:
        faults += [fault for each in authors for fault in each.faults]
    if coverage is Coverage.PART:
        faults.append("the signature covers only a part of the message, not all that is shown")
    elif coverage is Coverage.NOTHING and not faults:
        faults.append("the message is not signed")
    good = best is not None and not faults and coverage is Coverage.WHOLE
    warnings = [note for each in proofs for note in each.unsure]
    warnings += [fault for each in proofs if not each.good and best is not None for fault in each.faults]
    warnings += _layer_warnings(unwrapped)
    warnings += _field_warnings(header, inner, unwrapped)
    fields = tuple(dict.fromkeys(each.name for each in inner)) if inner is not None else ()
    return Proof(
        good,
        _sentence(good, best, authors, coverage, faults, unwrapped, claimed, header_covered=bool(fields)),
        coverage,
        tuple(proofs),
        tuple(map(describe_layer, unwrapped.layers)),
        any(isinstance(layer, EncryptedLayer) for layer in unwrapped.layers),
        tuple(name for name in fields if not name.lower().startswith(("content-", "hp-"))),
        tuple(dict.fromkeys(faults)),
        tuple(dict.fromkeys(warnings)),
    )


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Who the message says it is from."""

    authors: tuple[str, ...]
    sender: tuple[str, ...]
    faults: tuple[str, ...]

    @classmethod
    def of(cls, outer: Header, inner: Header | None) -> _Claimed:
        """Read From and Sender; where they are protected, those inside count and must be those shown outside."""
        authors, faults = cls._field(outer, "from")
        sender, more = cls._field(outer, "sender")
        faults = [*faults, *more]
        if inner is not None and "from" in inner:
            protected, more = cls._field(inner, "from")
            faults += more
            if {*map(smime_profile.comparable, protected)} != {*map(smime_profile.comparable, authors)}:
                faults.append("the From outside is not the From that was protected")
            authors = protected
            sender = cls._field(inner, "sender")[0]
        return cls(authors, sender, tuple(faults))

    @staticmethod
    def _field(header: Header, name: str) -> tuple[tuple[str, ...], list[str]]:
        fields = header.get_all(name)
        faults = [f"{len(fields)} {name.capitalize()} fields"] if len(fields) > 1 else []
        mailboxes = [mailbox for each in fields for mailbox in parse_addresses(each.text).mailboxes]
        return tuple(mailbox.address for mailbox in mailboxes), faults


def _prove_signer(check: Check, evidence: Evidence, claimed: _Claimed, trust: Trust) -> SignerProof:
    certificate = check.certificate
    faults = [check.fault] if check.fault else []
    faults += [f"a counter-signature does not hold: {each.fault}" for each in check.counter_signatures if each.fault]
    if certificate is None:
        return SignerProof(
            "", (), "", Role.NOBODY, check.scheme, "", check.signing_time, (), Status.UNKNOWN, "", Standing.CURRENT,
            False, tuple(faults), (),
        )  # fmt: skip
    address = smime_profile.matching_address(certificate, claimed.authors)
    role = Role.FROM if address is not None else Role.NOBODY
    if address is None:
        address = smime_profile.matching_address(certificate, claimed.sender)
        role = Role.NOBODY if address is None else Role.SENDER
    if role is Role.NOBODY:
        faults.append(_mismatch(certificate, claimed))
    standing, age = _standing(check, certificate, trust)
    if standing is Standing.REFUSED or (standing is Standing.LEGACY and not trust.accept_legacy):
        faults.append(age)
    chain, more, expired = _chain(check, evidence.pool, trust)
    faults += more
    state = Revocation(Status.UNKNOWN, "without a valid chain nothing can be told")
    unsure: list[str] = [age] if age and age not in faults else []
    if chain is not None:
        state = revocation.check_path(chain, evidence, trust.when)
        if state.status is Status.REVOKED or (state.status is Status.UNKNOWN and trust.require_revocation):
            faults.append(state.reason)
        elif state.status is Status.UNKNOWN:
            unsure.append(state.reason)
    if not check.names_certificate and not check.fault:
        unsure.append("the signature does not name its certificate (RFC 5035 section 5.4)")
    return SignerProof(
        str(certificate.subject),
        tuple(map(visible, certificate.addresses)),
        visible(address or ""),
        role,
        check.scheme,
        public_keys.describe(certificate.public_key),
        check.signing_time,
        () if chain is None else _names(chain),
        state.status,
        state.reason,
        standing,
        expired,
        tuple(faults),
        tuple(unsure),
        certificate,
    )


def _names(chain: Path) -> tuple[str, ...]:
    """Return whose certificates a path is made of, from the signer's to the anchor."""
    names = [str(each.subject) for each in reversed(chain.certificates)]
    anchor = str(chain.anchor.name)
    return tuple(names) if names[-1] == anchor else (*names, anchor)


def _mismatch(certificate: Certificate, claimed: _Claimed) -> str:
    whose = visible(", ".join(certificate.addresses)) or "no address at all"
    return (
        f"the certificate is for {whose}, the message says it is from {visible(', '.join(claimed.authors)) or 'nobody'}"
    )


def certificates_of(layer: SignedLayer) -> tuple[Certificate, ...]:
    """Return the certificates that a layer brings and that can be read."""
    brought = []
    for octets in layer.signed.certificates:
        try:
            brought.append(Certificate.parse(octets))
        except Malformed:
            continue
    return tuple(brought)


def _pool(layer: SignedLayer, trust: Trust) -> Pool:
    anchors = (anchor.certificate for anchor in trust.anchors if anchor.certificate is not None)
    return Pool((*certificates_of(layer), *trust.certificates, *anchors))


def _evidence(layer: SignedLayer, trust: Trust) -> Evidence:
    crls, answers = list(trust.crls), list(trust.ocsp)
    for octets in layer.signed.crls[:16]:
        try:
            crls.append(RevocationList.parse(octets))
        except Malformed:
            continue
    for octets in layer.signed.ocsp_responses[:16]:
        try:
            answers.append(OcspResponse.parse(octets))
        except Malformed:
            continue
    return Evidence(crls, answers, _pool(layer, trust), trust.troubles)


def _chain(check: Check, pool: Pool, trust: Trust) -> tuple[Path | None, list[str], bool]:
    """Return the path, what is wrong with it, and whether it only expired since the signer says it signed."""
    certificate = check.certificate
    assert certificate is not None  # the caller has looked
    faults = []
    try:
        smime_profile.check_signing(certificate)
    except NotAuthentic as error:
        faults.append(str(error))
    try:
        found = path.find(certificate, pool, trust.anchors, trust.when)
        smime_profile.check_authorities(found)
        return found, faults, False
    except NotAuthentic as error:
        fault = str(error)
    if check.signing_time is not None and check.signing_time < trust.when:
        try:
            path.find(certificate, pool, trust.anchors, check.signing_time)
        except NotAuthentic:
            return None, [*faults, fault], False
        note = f"{fault}; it was valid when the signer says it signed, {check.signing_time:%Y-%m-%d}"
        return None, [*faults, note], True
    return None, [*faults, fault], False


def _standing(check: Check, certificate: Certificate, trust: Trust) -> tuple[Standing, str]:
    """Return what the algorithms of a signature are worth today, and a sentence if less than they should be."""
    at = int(trust.when.timestamp())
    names = [check.digest.lower().replace("-", "")]
    names += [name for name in ("md5", "sha1", "dsa") if name in check.scheme.lower().replace("-", "").split()]
    worst = Standing.CURRENT
    for name in dict.fromkeys(names):
        found = policy.SMIME.standing(name, at)
        if found is Standing.REFUSED:
            return found, f"{name.upper()} proves nothing any more"
        if found is Standing.LEGACY:
            worst = found
    try:
        bits = public_keys.bits(certificate.public_key) if certificate.public_key.algorithm.oid in _RSA else 0
    except (Malformed, NotAuthentic):
        bits = 0
    if bits and bits < policy.SMIME.refused_rsa_bits:
        return Standing.REFUSED, f"an RSA key of {bits} bits proves nothing any more"
    if bits and bits < policy.SMIME.advised_rsa_bits:
        worst = Standing.LEGACY
    if worst is Standing.CURRENT:
        return worst, ""
    size = f" of a key of {bits} bits" if bits else ""
    return worst, f"{check.scheme}{size} is a legacy algorithm, too weak to prove much today"


_RSA = frozenset({oids.RSA, oids.RSA_PSS})


def _coverage(unwrapped: Unwrapped, signed: bool) -> Coverage:
    if signed:
        return Coverage.WHOLE
    for _number, part in unwrapped.parts:
        if any(isinstance(layer, SignedLayer) and layer.checks for layer in part.layers):
            return Coverage.PART
    return Coverage.NOTHING


def _field_warnings(outer: Header, inner: Header | None, unwrapped: Unwrapped) -> Iterator[str]:
    """Yield which fields were changed outside, by what the signature and then the encryption around it say was left there."""
    if inner is None:
        return
    opened = [each.opened for each in unwrapped.layers if isinstance(each, EncryptedLayer) and each.opened is not None]
    around = filter(None, (protected_header(each.content) for each in reversed(opened)))
    for name in changed_fields(outer, inner, around):
        yield f"the {name} outside is not the one that was protected"


def _layer_warnings(unwrapped: Unwrapped) -> Iterable[str]:
    for layer in unwrapped.layers:
        if isinstance(layer, EncryptedLayer) and layer.opened is not None and not layer.opened.authenticated:
            yield f"{layer.opened.cipher} does not show changes: what was decrypted may have been altered"
        if isinstance(layer, DigestLayer) and not layer.intact:
            yield "the content was damaged: its digest does not match"


def describe_layer(layer: Layer) -> str:
    """Return a layer in a few words."""
    match layer:
        case SignedLayer():
            count = len(layer.checks)
            return f"signed ({'clear' if layer.clear else 'opaque'}), {count} signature{'s' * (count != 1)}"
        case EncryptedLayer(opened=None):
            return "encrypted, not opened"
        case EncryptedLayer(opened=opened):
            assert opened is not None  # the case above took the rest
            return f"encrypted with {opened.cipher}, key by {opened.key_management}"
        case CompressedLayer():
            return f"compressed from {layer.expanded_octets} to {layer.compressed_octets} octets"
        case DigestLayer():
            return "with a digest, which proves nothing"
        case AuthenticatedLayer():
            return f"with an authentication code ({layer.algorithm}): written by its sender or one of its recipients"


def _sentence(
    good: bool,
    best: SignerProof | None,
    authors: list[SignerProof],
    coverage: Coverage,
    faults: list[str],
    unwrapped: Unwrapped,
    claimed: _Claimed,
    *,
    header_covered: bool,
) -> str:
    if good and best is not None:
        when = f", on {best.signing_time:%Y-%m-%d %H:%M} UTC by their own clock" if best.signing_time else ""
        what = (
            "all of this message, its header included" if header_covered else "the body of this message, not its header"
        )
        if _signed_unseen(unwrapped.layers):
            what = "this message in its encrypted form, without showing that they knew what is inside"
        who = f"The holder of {best.address}'s certificate signed {what}{when}"
        among = f", as one of its {len(claimed.authors)} authors" if len(claimed.authors) > 1 else ""
        role = among if best.role is Role.FROM else ", as its Sender, not as its author"
        revoked = {
            Status.GOOD: f"was not revoked ({best.revocation_reason})",
            Status.UNKNOWN: f"may have been revoked, which could not be told: {visible(best.revocation_reason)}",
            Status.REVOKED: "was revoked",
        }[best.revocation]
        return f"{who}{role}; the certificate leads to an anchor you trust and {revoked}."
    if not authors:
        if coverage is Coverage.PART:
            return "Only a part of this message is signed; nothing proves who sent the whole."
        if unwrapped.fault:
            return f"Nothing is proved: {unwrapped.fault}."
        if any(isinstance(layer, EncryptedLayer) for layer in unwrapped.layers):
            return "The message was encrypted to you, which proves nothing about who sent it: it is not signed."
        return "The message is not signed; nothing proves who sent it."
    return f"The signature does not prove who sent this message: {faults[0]}."


def _signed_unseen(layers: tuple[Layer, ...]) -> bool:
    """Tell whether only cipher text was signed, which anybody can do who came by it (RFC 8551 section 3.7)."""
    innermost = max(at for at, layer in enumerate(layers) if isinstance(layer, SignedLayer) and layer.checks)
    return any(isinstance(layer, EncryptedLayer) for layer in layers[innermost:])


def verify_message(message: bytes, unwrapped: Unwrapped, trust: Trust) -> Proof:
    """Say what the layers of `message` prove."""
    return prove(read_header(message), unwrapped, trust)
