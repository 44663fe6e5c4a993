"""Verify the DKIM signatures of a message.

A `Verification` is made from the header section; it adds the body hashes it needs to a `BodyHashes` that ARC shares;
once the body has been fed, `judge` is the decision that asks for the keys and returns the verdict. `judge_message`
does all of it for a message in memory.

Standards: RFC 6376 section 6, RFC 8301, RFC 8463, RFC 8601 section 2.7.1.
Limits: `Rules.most_signatures` signatures are judged; the rest are named and not trusted.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats import domain as domains
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.formats.imf.header import read_header
from letterlock.trust import policy
from letterlock.trust.ask import Decision, ask_all
from letterlock.trust.dkim import key as key_record
from letterlock.trust.dkim import signature as signature_field
from letterlock.trust.dkim.canonicalize import BodyHashes, Canonicalization, header_fields
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.key import KeyRecord
from letterlock.trust.dkim.signature import Signature
from letterlock.trust.dkim.verdict import Check, Result, SignatureVerdict, Verdict
from letterlock.trust.primitives import eddsa, rsa

# Fields of which a message has one (RFC 5322 section 3.6, RFC 2045 section 3): a second one that is not signed was
# added later, and a reader may show that one (RFC 6376 section 8.15)
SINGLE_FIELDS = frozenset(
    (
        "from",
        "subject",
        "to",
        "cc",
        "date",
        "reply-to",
        "sender",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    )
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What this receiver accepts. `accept_body_length` lets l= pass, which lets anyone append to the body."""

    accept_body_length: bool = False
    most_signatures: int = 8
    clock_skew_seconds: int = 300
    algorithms: policy.Policy = policy.DKIM


DEFAULT_RULES = Rules()
_LARGEST_RSA_BITS = 8192  # what a stranger's key may make us compute


@dataclass(frozen=True, slots=True)
class Key:
    """The key record found for a signature, or why there is none."""

    record: KeyRecord | None
    result: Result
    reason: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a signature is not accepted although it may verify."""

    result: Result
    reason: str


class Verification:
    """The signatures of one message."""

    def __init__(self, fields: Fields, bodies: BodyHashes, rules: Rules = DEFAULT_RULES) -> None:
        self._fields = fields
        self._bodies = bodies
        self._rules = rules
        self._signatures: list[tuple[Field, Signature | Malformed]] = []
        self._repeated = [(name, count) for name, count in fields.repeated.items() if name in SINGLE_FIELDS]
        self._surplus = fields.named(b"dkim-signature")[rules.most_signatures :]
        for field in fields.named(b"dkim-signature")[: rules.most_signatures]:
            try:
                parsed = signature_field.parse(field.value)
            except Malformed as error:
                self._signatures.append((field, error))
                continue
            bodies.add(parsed.body_hash_kind)
            self._signatures.append((field, parsed))

    def judge(self, now: int) -> Decision[Verdict]:
        """Ask for the keys, all at once, and judge each signature; the body must have been fed."""
        names = {parsed.key_name: None for _, parsed in self._signatures if isinstance(parsed, Signature)}
        answers = yield from ask_all(tuple(Question(name, "TXT") for name in names))
        keys = {answer.question.name: find_key(answer) for answer in answers}
        verdicts = []
        for field, parsed in self._signatures:
            if isinstance(parsed, Signature):
                verdicts.append(self._judge_one(field, parsed, keys[parsed.key_name], now))
            else:  # RFC 8601 section 2.7.1: syntax errors are neutral
                verdicts.append(SignatureVerdict(Result.NEUTRAL, f"the field cannot be read: {parsed}"))
        for _ in self._surplus:
            reason = f"only the first {self._rules.most_signatures} signatures are judged"
            verdicts.append(SignatureVerdict(Result.POLICY, reason))
        return Verdict(tuple(verdicts))

    def _judge_one(self, field: Field, signature: Signature, key: Key, now: int) -> SignatureVerdict:
        objections, warnings = self._examine(signature, now)
        body_hash = check_body(signature, self._bodies)
        header_signature = Check.NOT_DONE
        if key.record is None:
            objections.append(Objection(key.result, key.reason))
        else:
            more_objections, more_warnings = examine_key(signature, key.record, self._rules.algorithms)
            objections += more_objections
            warnings += more_warnings
            header_signature = check_header(self._fields, field, signature, key.record)
        result, reason = _conclude(signature, objections, body_hash, header_signature)
        if result is Result.PASS and key.record is not None and key.record.is_testing:
            # RFC 6376 section 3.6.1: mail of a domain that tests is treated as unsigned
            result = Result.NEUTRAL
            reason = f"the signature verifies, but {signature.domain} only tests DKIM (t=y), so it counts as unsigned"
        return SignatureVerdict(
            result,
            reason,
            signature,
            signature.domain,
            signature.selector,
            signature.algorithm,
            body_hash,
            header_signature,
            tuple(warnings),
            key.record.bits if key.record else 0,
            key.answer.security,
            key.record.is_testing if key.record else False,
        )

    def _examine(self, signature: Signature, now: int) -> tuple[list[Objection], list[str]]:
        """Judge what the signature says, apart from its key."""
        objections: list[Objection] = []
        warnings: list[str] = []
        if "from" not in signature.headers:  # RFC 6376 section 5.4
            objections.append(Objection(Result.PERMERROR, "From is not signed, so anyone may have written it"))
        if not domains.is_within(signature.identity_domain, signature.domain):  # RFC 6376 section 3.5
            problem = f"i={signature.identity} does not stand within d={signature.domain}"
            objections.append(Objection(Result.PERMERROR, problem))
        if signature.expiration is not None and now > signature.expiration:
            problem = f"the signature expired {now - signature.expiration} seconds before"
            objections.append(Objection(Result.PERMERROR, problem))
        if signature.timestamp is not None and signature.timestamp > now + self._rules.clock_skew_seconds:
            problem = f"the signature was made {signature.timestamp - now} seconds in the future"
            objections.append(Objection(Result.POLICY, problem))
        for name, count in self._repeated:
            if signature.headers.count(name) < count:
                problem = f"the message has {count} {name} fields, of which {signature.headers.count(name)} are signed"
                objections.append(Objection(Result.POLICY, problem))
        if signature.length is not None:
            self._examine_length(signature, objections, warnings)
        if "subject" not in signature.headers and self._fields.named(b"subject"):
            warnings.append("Subject is not signed")
        if self._rules.algorithms.standing(signature.algorithm, now) is not policy.Standing.CURRENT:
            problem = f"{signature.algorithm} protects nothing any more (RFC 8301 section 3.1)"
            objections.append(Objection(Result.POLICY, problem))
        return objections, warnings

    def _examine_length(self, signature: Signature, objections: list[Objection], warnings: list[str]) -> None:
        length = self._bodies.length(signature.body_canonicalization)
        signed = signature.length or 0
        if signed > length:  # RFC 6376 section 3.5
            problem = f"l={signed}, but the body has only {length} octets"
            objections.append(Objection(Result.PERMERROR, problem))
            return
        problem = f"l={signed} signs {signed} of {length} octets of the body; anyone may append to it"
        warnings.append(problem)
        if not self._rules.accept_body_length:
            objections.append(Objection(Result.POLICY, problem))


def find_key(answer: Answer) -> Key:
    """Read the one key record out of an answer (RFC 6376 section 3.6.2.2 and section 6.1.2)."""
    name = answer.question.name
    if answer.outcome is Outcome.FAILED:
        return Key(None, Result.TEMPERROR, f"the key {name} could not be looked up: {answer.reason}", answer)
    found: list[KeyRecord] = []
    problem = "there is no TXT record"
    for text in (record.joined for record in answer.records if isinstance(record, Txt)):
        try:
            found.append(key_record.parse(text))
        except Malformed as error:
            problem = str(error)
    if not found:
        return Key(None, Result.PERMERROR, f"no key at {name}: {problem}", answer)
    if len(found) > 1:
        return Key(None, Result.PERMERROR, f"{len(found)} keys at {name}; a selector has one", answer)
    return Key(found[0], Result.PASS, "", answer)


def examine_key(
    signature: Signature, record: KeyRecord, algorithms: policy.Policy
) -> tuple[list[Objection], list[str]]:
    """Judge whether the key record permits the signature (RFC 6376 section 6.1.2)."""
    objections = []
    warnings = []
    if record.public_key is None:
        objections.append(Objection(Result.PERMERROR, f"the key {signature.key_name} is revoked: p= is empty"))
    if record.key_type != signature.key_type:
        problem = f"the key is for {record.key_type}, the signature is {signature.algorithm}"
        objections.append(Objection(Result.PERMERROR, problem))
    if record.digests and signature.digest not in record.digests:
        problem = f"the key permits only h={':'.join(record.digests)}, the signature uses {signature.digest}"
        objections.append(Objection(Result.PERMERROR, problem))
    if not record.is_for_mail:
        problem = f"the key is for the service {':'.join(record.services)}, not for e-mail"
        objections.append(Objection(Result.PERMERROR, problem))
    if record.is_strict and signature.identity_domain != signature.domain:
        problem = f"the key (t=s) forbids i={signature.identity}: its domain is not {signature.domain} itself"
        objections.append(Objection(Result.PERMERROR, problem))
    if record.is_testing:
        warnings.append(f"{signature.domain} only tests DKIM (t=y)")
    if record.key_type == "rsa" and record.public_key is not None:
        bits = record.bits
        if not algorithms.refused_rsa_bits <= bits <= algorithms.largest_rsa_bits:  # RFC 8301 section 3.2
            objections.append(Objection(Result.POLICY, f"an RSA key of {bits} bits is not accepted"))
        elif bits < algorithms.advised_rsa_bits:
            warnings.append(f"an RSA key of {bits} bits is weak; {algorithms.advised_rsa_bits} are advised")
    return objections, warnings


def check_body(signature: Signature, bodies: BodyHashes) -> Check:
    """Compare the hash of the body with bh=."""
    same = hmac.compare_digest(bodies.digest(signature.body_hash_kind), signature.body_hash)
    return Check.PASS if same else Check.FAIL


def check_header(fields: Fields, own: Field, signature: Signature, record: KeyRecord) -> Check:
    """Verify b= over the signed fields; too large or mismatched keys are not used."""
    octets = signed_octets(fields, own, signature.headers, signature.header_canonicalization)
    key = record.public_key
    if key is None or record.key_type != signature.key_type:
        return Check.NOT_DONE
    try:
        if isinstance(key, eddsa.Ed25519PublicKey):
            # RFC 8463 section 3: what is signed is the hash
            eddsa.verify_ed25519(key, signature.signature, hashlib.sha256(octets).digest())
        elif record.bits > _LARGEST_RSA_BITS:
            return Check.NOT_DONE
        else:
            rsa.verify(key, signature.signature, octets, signature.digest)
    except NotAuthentic:
        return Check.FAIL
    return Check.PASS


def signed_octets(fields: Fields, own: Field, names: tuple[str, ...], how: Canonicalization) -> bytes:
    """Return what is hashed for b=: the named fields from the bottom up, then the signature field without its b=."""
    left: dict[str, list[Field]] = {}
    parts = []
    for name in names:
        instances = left.get(name)
        if instances is None:
            instances = left[name] = fields.named(name.encode()).copy()
            if own in instances:
                instances.remove(own)
        if instances:  # RFC 6376 section 5.4.2: a field that is not there counts as an empty string
            parts.append(instances.pop().octets)
    parts.append(signature_field.without_signature(own.octets))
    return header_fields(parts, how)


def _conclude(
    signature: Signature, objections: list[Objection], body_hash: Check, header_signature: Check
) -> tuple[Result, str]:
    for wanted in (Result.PERMERROR, Result.TEMPERROR):
        for objection in objections:
            if objection.result is wanted:
                return wanted, objection.reason
    if header_signature is Check.FAIL:
        return Result.FAIL, "the signature does not verify: a signed field was changed, or the key is another"
    if body_hash is Check.FAIL:
        return Result.FAIL, "the body was changed after signing: its hash is not the one in bh="
    for objection in objections:
        return objection.result, objection.reason
    if header_signature is not Check.PASS:
        return Result.PERMERROR, "the key does not fit the signature"
    return Result.PASS, f"{signature.domain} signed this message with {signature.algorithm}, and it is unchanged"


def judge(octets: bytes, now: int, rules: Rules = DEFAULT_RULES) -> Decision[Verdict]:
    """Verify all signatures of a message in memory as of `now` (seconds since 1970)."""
    header = read_header(octets)
    bodies = BodyHashes()
    verification = Verification(Fields(header), bodies, rules)
    bodies.feed(octets[header.body_start :])
    return verification.judge(now)
