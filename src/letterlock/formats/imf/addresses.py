"""Address lists as people write them: display names, groups, comments, and every obsolete form still in use.

`parse_addresses` reads any text and never fails. A `Mailbox` keeps its display name as written (encoded words
undecoded, as ENVELOPE wants them) and decodes it on demand; `to_address` gives the transport's form or says why not.

Standards: RFC 5322 section 3.4, section 4.4 (obsolete), RFC 6854 (groups in From), RFC 6532 section 3.2.
Limits: `Limits.addresses`; linear in the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.grammar import Sort, Token, quote, tokens
from letterlock.formats.imf.encoded_words import decode, encode
from letterlock.formats.limits import DEFAULT, Limits

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
# Whole lists of the plain forms `a@b`, `a@b (Name)`, `<a@b>`, `Some Name <a@b>`, `"Some Name" <a@b>` need no lexer.
_LOCAL = rf"[{_ATEXT}]++(?>(?:\.[{_ATEXT}]++)*)"
_DOMAIN = r"[A-Za-z0-9\-]++(?>(?:\.[A-Za-z0-9\-]++)*)"
_COMMENT = r"\([^()\\\"]*+\)"
_PLAIN = re.compile(
    rf'[ \t]*+(?:(?>(?:(?:"([^"\\\r\n]*+)"|([{_ATEXT}]++(?>(?: [{_ATEXT}]++)*)))[ \t]*+(?>(?:{_COMMENT}[ \t]*+)?))?)'
    rf"<({_LOCAL})@({_DOMAIN})>|({_LOCAL})@({_DOMAIN})(?>(?:[ \t]*+({_COMMENT}))?))[ \t]*+(?:,|$)"
)
_ATOM_PHRASE = re.compile(rf"[{_ATEXT}]+(?: [{_ATEXT}]+)*")
_DOT_ATOM = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]+(?:\.[{_ATEXT}\u0080-\U0010ffff]+)*")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox. `name` is the display name unquoted with encoded words as they stand, `local_part` unquoted,
    `domain` as written (or a literal in brackets, or empty), `route` an obsolete source route such as "@a,@b".
    """

    name: str
    local_part: str
    domain: str
    route: str = ""

    @property
    def display_name(self) -> str:
        """The display name with encoded words decoded."""
        return decode(self.name)

    @property
    def address(self) -> str:
        """`local@domain` as a header field writes it; without the at sign where there is no domain."""
        local = self.local_part if _DOT_ATOM.fullmatch(self.local_part) else quote(self.local_part)
        return f"{local}@{self.domain}" if self.domain else local

    def to_address(self) -> Address:
        """Return the transport's form of this mailbox. Raises Malformed where SMTP could not carry it."""
        if not self.domain:
            raise Malformed(f"{self.address!r} has no domain", clause="RFC 5322 section 3.4.1")
        return Address.parse(self.address)

    def __str__(self) -> str:
        """The mailbox as a header field writes it, its display name quoted or encoded as needed."""
        return f"{write_phrase(self.display_name)} <{self.address}>" if self.name else self.address


@dataclass(frozen=True, slots=True)
class Group:
    """A named group of mailboxes, perhaps empty (RFC 5322 section 3.4)."""

    name: str
    members: tuple[Mailbox, ...] = ()

    @property
    def display_name(self) -> str:
        """The group's name with encoded words decoded."""
        return decode(self.name)

    def __str__(self) -> str:
        return f"{write_phrase(self.display_name)}:{', '.join(map(str, self.members))};"


@dataclass(frozen=True, slots=True)
class AddressList:
    """What an address field holds, in order, and what was wrong with it."""

    items: tuple[Mailbox | Group, ...] = ()
    defects: tuple[Defect, ...] = ()

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        """All mailboxes, those in groups included."""
        found: list[Mailbox] = []
        for item in self.items:
            if isinstance(item, Group):
                found.extend(item.members)
            else:
                found.append(item)
        return tuple(found)


def parse_addresses(value: str, *, limits: Limits = DEFAULT) -> AddressList:
    """Read an unfolded address list. Never raises; what is no address is left out and named a defect."""
    plain = _parse_plain(value, limits)
    return _Reader(value, limits).read() if plain is None else plain


def _parse_plain(value: str, limits: Limits) -> AddressList | None:
    """Read a list that has only plain forms; None hands it to the full reader."""
    items: list[Mailbox | Group] = []
    at, length = 0, len(value)
    while at < length and len(items) < limits.addresses:
        found = _PLAIN.match(value, at)
        if found is None or (found.end() == length and value[-1] == ","):
            return None
        quoted, phrase, local, domain, bare_local, bare_domain, comment = found.groups()
        if bare_local is None:
            items.append(Mailbox(quoted or phrase or "", local, domain))
        else:  # QUIRK comment-name: RFC 822 writers put the person's name in a comment after the address
            items.append(Mailbox(comment[1:-1].strip() if comment else "", bare_local, bare_domain))
        at = found.end()
    return AddressList(tuple(items)) if at == length and items else None


def parse_mailbox(value: str) -> Mailbox | None:
    """Return the first mailbox of a value that should hold one (Sender), or None."""
    return next(iter(parse_addresses(value).mailboxes), None)


def write_phrase(text: str) -> str:
    """Return `text` as a display name: atoms, a quoted string, or encoded words."""
    if _ATOM_PHRASE.fullmatch(text) and "=?" not in text:
        return text
    if text.isascii() and text.isprintable() and "=?" not in text:
        return quote(text)
    return encode(text)


def write_addresses(items: Iterable[Mailbox | Group]) -> str:
    """Return an address list as a field's value, unfolded."""
    return ", ".join(map(str, items))


class _Reader:
    """The full reader: one pass over the tokens, one mailbox at a time."""

    def __init__(self, value: str, limits: Limits) -> None:
        self._defects: list[Defect] = []
        self._tokens = tokens(value, self._defects)
        self._left = limits.addresses
        self._items: list[Mailbox | Group] = []
        self._group: str | None = None
        self._members: list[Mailbox] = []
        self._phrase: list[Token] = []  # tokens before an angle bracket, or of a bare address
        self._comments: list[str] = []
        self._angle: list[Token] | None = None  # tokens inside angle brackets once they are seen
        self._inside = False  # between angle brackets

    def read(self) -> AddressList:
        before: Token | None = None
        for token in self._tokens:
            if self._left < 0:
                return AddressList(tuple(self._items), tuple(self._defects))
            if token.sort is Sort.COMMENT:
                self._comments.append(token.text)
            mark = token.text if token.sort is Sort.SPECIAL else ""
            self._notice_comment(before, token, mark)
            before = token
            if token.sort is Sort.COMMENT or (self._inside and self._take_inside(token, mark)):
                continue
            self._take_outside(token, mark)
        self._end()
        return AddressList(tuple(self._items), tuple(self._defects))

    def _notice_comment(self, before: Token | None, token: Token, mark: str) -> None:
        """Name a comment where an address is: beside its at sign or dots, or in angle brackets."""
        if token.sort is Sort.COMMENT:
            beside = before is not None and before.sort is Sort.SPECIAL and before.text in {"@", "."}
            suspicious = self._inside or (beside and bool(self._phrase))
        else:
            after_comment = before is not None and before.sort is Sort.COMMENT
            suspicious = after_comment and not self._inside and mark in {"@", "."} and bool(self._phrase)
        if suspicious:
            self._defects.append(Defect(Kind.COMMENT_IN_ADDRESS, token.start))

    def _take_inside(self, token: Token, mark: str) -> bool:
        """Take a token between angle brackets; False hands one that cannot stand there back, as if they were closed."""
        assert self._angle is not None
        route = bool(self._angle) and self._angle[0].text == "@"  # a source route has commas
        if mark == ">":
            self._inside = False
        elif mark == ";" or (mark == "," and self._angle and not route):
            self._inside = False
            self._defects.append(Defect(Kind.UNCLOSED_ANGLE, token.start))
            return False
        else:
            self._angle.append(token)
        return True

    def _take_outside(self, token: Token, mark: str) -> None:
        if mark == "<" and self._angle is None:
            self._angle, self._inside = [], True
        elif mark == ",":
            self._finish(token.start)
        elif mark == ";" and self._group is not None:
            self._finish_group(token.start)
        elif mark == ":" and self._group is None and self._angle is None and not self._has_at():
            self._group, self._phrase, self._comments = _join_phrase(self._phrase), [], []
        elif mark == ">":
            self._defects.append(Defect(Kind.UNCLOSED_ANGLE, token.start))
        elif self._angle is None:
            self._phrase.append(token)
        else:
            self._defects.append(Defect(Kind.BAD_ADDRESS, token.start, "text after an address"))

    def _has_at(self) -> bool:
        return any(token.text == "@" and token.sort is Sort.SPECIAL for token in self._phrase[-4:])

    def _end(self) -> None:
        if self._inside:
            self._defects.append(Defect(Kind.UNCLOSED_ANGLE, self._tokens[-1].start))
        if self._phrase or self._angle is not None:
            self._finish(-1)
        if self._group is not None and self._left >= 0:
            self._defects.append(Defect(Kind.UNCLOSED_GROUP, 0))
            self._finish_group(-1)

    def _finish_group(self, offset: int) -> None:
        if self._phrase or self._angle is not None:
            self._finish(offset)
        self._items.append(Group(self._group or "", tuple(self._members)))
        self._group, self._members, self._comments = None, [], []

    def _finish(self, offset: int) -> None:
        """Turn what was collected into a mailbox."""
        phrase, angle, comments = self._phrase, self._angle, self._comments
        self._phrase, self._angle, self._comments = [], None, []
        if angle is None and not phrase:
            self._defects.append(Defect(Kind.EMPTY_ELEMENT, max(offset, 0)))
            return
        self._left -= 1
        if self._left < 0:
            self._defects.append(Defect(Kind.TOO_LARGE, max(offset, 0), "addresses"))
            return
        if angle is not None and any(one.sort is Sort.SPECIAL and one.text != "." for one in phrase):
            self._defects.append(Defect(Kind.BAD_ADDRESS, phrase[0].start, "a name that should be quoted"))
        name = _join_phrase(phrase) if angle is not None else ""
        name = name or (comments[-1].strip() if comments else "")
        mailbox = self._address(phrase if angle is None else angle, name)
        if mailbox is not None:
            (self._items if self._group is None else self._members).append(mailbox)

    def _address(self, spec: list[Token], name: str) -> Mailbox | None:
        """Read an addr-spec with its obsolete route."""
        offset = spec[0].start if spec else 0
        route = ""
        if spec and spec[0].text == "@" and spec[0].sort is Sort.SPECIAL:  # RFC 5322 section 4.4
            colon = next((at for at, token in enumerate(spec) if token.text == ":"), None)
            if colon is not None:
                route = "".join(token.text for token in spec[:colon])
                spec = spec[colon + 1 :]
                self._defects.append(Defect(Kind.OBSOLETE_ROUTE, offset))
        at = next(
            (n for n in range(len(spec) - 1, -1, -1) if spec[n].text == "@" and spec[n].sort is Sort.SPECIAL), None
        )
        local_tokens, domain_tokens = (spec, []) if at is None else (spec[:at], spec[at + 1 :])
        if not _well_formed(local_tokens) or (at is not None and not _well_formed(domain_tokens)):
            self._defects.append(Defect(Kind.BAD_ADDRESS, offset))
            if not name and not local_tokens:
                return None
        elif at is None:
            self._defects.append(Defect(Kind.NO_DOMAIN, offset))
        local = _join_phrase(local_tokens) if at is None else "".join(token.text for token in local_tokens)
        return Mailbox(name, local, "".join(token.text for token in domain_tokens), route)


def _well_formed(spec: list[Token]) -> bool:
    """Tell whether tokens are words or literals with single dots between them."""
    want_word = True
    for token in spec:
        is_dot = token.sort is Sort.SPECIAL and token.text == "."
        if token.sort is Sort.SPECIAL and not is_dot:
            return False
        # "a/b", "a=b", "a?b" lex as several atoms without space between them
        if is_dot == want_word and (is_dot or token.sort is not Sort.ATOM or token.spaced):
            return False
        want_word = is_dot
    return not want_word


def _join_phrase(words: list[Token]) -> str:
    """Return the words of a phrase with single spaces where space stood."""
    pieces: list[str] = []
    for number, token in enumerate(words):
        if number and token.spaced:
            pieces.append(" ")
        pieces.append(token.text)
    return "".join(pieces)
