"""Our reader beside two others, over some hundreds of varied messages: structure, contents, texts, names, people.

The others are Python's email package (policy.default) and MIME::Parser of Perl's MIME-tools. Where one disagrees with us,
the message has a trait that makes it odd, and a clause decides; docs/interop.d/formats.md lists them.
"""

from __future__ import annotations

import email
import email.message
import email.policy
import hashlib
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.formats.message_corpus import Message, corpus

from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.view import view

pytestmark = pytest.mark.interop

CORPUS = list(corpus())

# Trait: the clause by which we read it. A disagreement without one of these traits fails.
DECIDED_AGAINST_EMAIL = {
    "space-before-colon": "RFC 5322 section 4.5: obsolete, and to be read as a field",
    "empty-name": "RFC 5322 section 2.2: a field has a name; the header section ends there",
    "comment-in-type": "RFC 2045 section 5.1: comments may stand between tokens",
    "quoted-printable-junk": "RFC 2045 section 6.7: white space after a soft line break is deleted",
    "encoded-message": "RFC 2046 section 5.2.1: message/rfc822 has no such encoding; its octets are not read as a message",
    "unquoted-boundary": "RFC 2045 section 5.1: such a value must be quoted; we read it to the semicolon",
    "unknown-charset": "RFC 2049 section 2: show what can be shown; the peer raises",
}
DECIDED_AGAINST_MIME_TOOLS = {
    "empty-name": DECIDED_AGAINST_EMAIL["empty-name"],
    "header-junk": "RFC 5322 section 2.1: the header section ends at the line that is no field, as transfer agents see it",
    "no-empty-line": "RFC 5322 section 2.1: the same",
    "bad-content-type": "RFC 2045 section 5.2: what cannot be read is text/plain",
    "duplicate-boundary": "RFC 2045 section 5: a parameter stands once; we take the first, the peer the last",
    "unquoted-boundary": DECIDED_AGAINST_EMAIL["unquoted-boundary"],
    "encoded-message": DECIDED_AGAINST_EMAIL["encoded-message"],
    "unknown-encoding": "RFC 2045 section 6.4: kept as octets; the peer drops them",
    "nul": "RFC 5322 section 2.2: a field's name is printable ASCII; the peer takes a NUL in it",
    "bare-cr": "RFC 2046 section 5.1.1: no delimiter is found, the octets stay; the peer drops them",
    "truncated": "RFC 2046 section 5.1.1: no delimiter is found, the octets stay; the peer drops them",
}


def _person(name: str, local_part: str, domain: str) -> tuple[str, str, str]:
    """Leave out the one name that we take from a comment and the peer does not (compared on its own below)."""
    return ("" if name == "Bob" else name, local_part, domain)


def _texts(entity: Entity) -> str:
    return entity.text().replace("\r\n", "\n")


def _ours(octets: bytes) -> list[Any]:
    """Return what both sides should see: header values, then each entity."""
    tree = parse(octets)
    header = tree.header
    seen: list[Any] = [decode(header.text("subject"))]
    seen += [
        [_person(box.display_name, box.local_part, box.domain) for box in parse_addresses(header.text(name)).mailboxes]
        for name in ("from", "to")
    ]
    seen.append(parse_date(header.text("date")) if "date" in header else None)
    for entity in tree.entities():
        disposition = entity.disposition
        seen.append((
            entity.content_type.full,
            len(entity.children),
            None if entity.children else entity.content(),
            _texts(entity) if entity.content_type.type == "text" and not entity.children else None,
            disposition.filename if disposition else "",
        ))  # fmt: skip
    return seen


def _with_email(octets: bytes) -> list[Any]:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    seen: list[Any] = [str(message["subject"] or "")]
    for name in ("from", "to"):
        field = message[name]
        seen.append([_person(one.display_name, one.username, one.domain) for one in field.addresses] if field else [])
    seen.append(message["date"].datetime if message["date"] else None)
    for part in message.walk():
        children = part.get_payload() if part.is_multipart() else []
        text = part.get_content_maintype() == "text" and not children
        seen.append((
            part.get_content_type(),
            len(children),
            None if children else part.get_payload(decode=True),
            _email_text(part) if text else None,
            part.get_filename("") if part["content-disposition"] else "",
        ))  # fmt: skip
    return seen


def _email_text(part: email.message.EmailMessage) -> str:
    try:
        text: str = part.get_content()
    except LookupError as error:  # it does not read charsets it does not know
        return repr(error)
    return text.replace("\r\n", "\n")


def _judge(disagreeing: list[Message], decided: dict[str, str]) -> Counter[str]:
    """Return how often each trait explains a disagreement; fail for one that nothing explains."""
    causes: Counter[str] = Counter()
    for message in disagreeing:
        traits = message.traits & decided.keys()
        assert traits, f"message {message.number} with {message.traits} is read differently"
        # Where readers differ, the reader says so: a trust decision can refuse the message.
        assert view(message.octets).ambiguities or traits == {"quoted-printable-junk"}, (message.number, traits)
        causes.update(traits)
    return causes


def test_the_corpus_is_large_and_varied() -> None:
    """At least 500 messages, three in four of them as they should be, and every way to break one occurs."""
    assert len(CORPUS) >= 500
    whole = [message for message in CORPUS if not message.traits - {"lf", "comment-name", "encoded-word-name"}]
    assert len(whole) >= 400
    assert len(set().union(*(message.traits for message in CORPUS))) >= 25


def test_python_email_agrees_but_where_a_clause_decides() -> None:
    """Structure, decoded octets and texts, file names, subject, people, date."""
    disagreeing = [message for message in CORPUS if _ours(message.octets) != _with_email(message.octets)]
    causes = _judge(disagreeing, DECIDED_AGAINST_EMAIL)
    assert len(disagreeing) < 0.08 * len(CORPUS), causes


def test_the_comment_after_an_address_is_its_owners_name() -> None:
    """RFC 822's way of naming people, which the peer leaves to its user."""
    value = "bob@fern.test (Bob)"
    field = email.message_from_string(f"To: {value}\n\n", policy=email.policy.default)["to"]
    assert parse_addresses(value).mailboxes[0].display_name == "Bob"
    assert field.addresses[0].display_name == ""


def test_mime_tools_agrees_but_where_a_clause_decides(tmp_path: Path) -> None:
    """Structure and decoded octets (with LF line ends, without those at the end)."""
    for message in CORPUS:
        (tmp_path / f"{message.number}.eml").write_bytes(message.octets)
    ended = subprocess.run(
        ["perl", Path(__file__).with_name("read_with_mime_tools.pl")],
        input="".join(f"{tmp_path}/{message.number}.eml\n" for message in CORPUS),
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(answers) == len(CORPUS)
    disagreeing = [
        message
        for message, answer in zip(CORPUS, answers, strict=True)
        if _shape(parse(message.octets)) != answer["parts"]
    ]
    causes = _judge(disagreeing, DECIDED_AGAINST_MIME_TOOLS)
    assert len(disagreeing) < 0.08 * len(CORPUS), causes


def _shape(tree: Entity) -> list[list[Any]]:
    found: list[list[Any]] = []
    pending = [(0, tree)]
    while pending:
        depth, entity = pending.pop()
        content = entity.content().replace(b"\r\n", b"\n").rstrip(b"\n")
        found.append(
            [depth, entity.content_type.full, None if entity.children else hashlib.sha256(content).hexdigest()]
        )
        pending += [(depth + 1, child) for child in reversed(entity.children)]
    return found
