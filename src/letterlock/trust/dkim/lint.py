"""What the owner of a DKIM key record should know of it.

Standards: RFC 6376 section 3.6.1, RFC 8301 section 3.2, RFC 8463; NIST SP 800-177r1 (key sizes and lifetimes).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.trust.ask import Decision, ask
from letterlock.trust.dkim import key
from letterlock.trust.dkim.key import KeyRecord


@dataclass(frozen=True, slots=True)
class Report:
    """A record with its faults (`errors`: nothing verifies) and what is not as it should be (`warnings`)."""

    name: str
    text: str
    record: KeyRecord | None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_known: bool = True


def lint(domain: str, selector: str) -> Decision[Report]:
    """Examine the record of a selector; `is_known` is false where it could not be looked up."""
    name = f"{selector}._domainkey.{domain}"
    answer = yield from ask(Question(name, "TXT"))
    if answer.outcome is Outcome.FAILED:
        return Report(name, "", None, (f"{name} could not be looked up: {answer.reason}",), is_known=False)
    texts = [found.joined for found in answer.records if isinstance(found, Txt)]
    if not texts:
        return Report(name, "", None, (f"there is no key at {name}",))
    if len(texts) > 1:
        return Report(name, "", None, (f"{len(texts)} TXT records at {name}; a selector has one",))
    return examine(name, texts[0])


def examine(name: str, text: bytes) -> Report:
    """Examine a record as text."""
    shown = text.decode("utf-8", "replace")
    try:
        record = key.parse(text)
    except Malformed as error:
        return Report(name, shown, None, (f"the record is wrong: {error}",))
    errors = []
    warnings = []
    if record.public_key is None:
        warnings.append("the key is revoked: p= is empty")
    elif record.key_type == "rsa" and record.bits < 1024:
        errors.append(f"an RSA key of {record.bits} bits is refused by receivers")
    elif record.key_type == "rsa" and record.bits < 2048:
        warnings.append(f"an RSA key of {record.bits} bits is weak; use 2048")
    elif record.key_type == "rsa" and record.bits > 4096:
        warnings.append(f"many receivers do not verify with {record.bits} bits; use 2048")
    if "v=DKIM1" not in shown.replace(" ", ""):
        warnings.append("v=DKIM1 is missing, which some receivers ask for")
    if record.is_testing:
        warnings.append("t=y: receivers treat this mail as unsigned")
    if not record.is_for_mail:
        errors.append(f"s={':'.join(record.services)} leaves mail out")
    if record.digests and "sha256" not in record.digests:
        errors.append(f"h={':'.join(record.digests)} leaves out sha256, the one digest in use")
    return Report(name, shown, record, tuple(errors), tuple(warnings))
