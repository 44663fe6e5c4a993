"""A safe view for people: which text to show, attachments with checked names, and every ambiguity as a named defect.

The view decodes only what is shown. All names and values in it are free of control and direction characters. It holds
nothing that loads, runs or writes. `view.ambiguities` are the defects on which two readers may see different messages:
a trust decision about what the person sees refuses a message that has one.

Standards: RFC 2046 section 5.1 (what each multipart means), RFC 2183 (inline and attachment), RFC 2387 section 3.2
(related), RFC 3676 (flowed), RFC 1847 (signed, encrypted), RFC 6522 (report).
Limits: `Limits.decoded_octets` for the texts together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.charset import codec_name
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.addresses import Group, Mailbox, parse_addresses
from letterlock.formats.imf.check import check_fields, check_message_header
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.imf.header import Header
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.enriched import render_enriched
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.external import read_external_body
from letterlock.formats.mime.filenames import safe_name
from letterlock.formats.mime.flowed import unflow
from letterlock.formats.mime.html_text import html_to_text
from letterlock.formats.mime.transfer import has_foreign_base64
from letterlock.formats.octets import visible

_SHOWN_SUBTYPES = frozenset(("plain", "html", "enriched", "richtext"))
_KNOWN_ENCODINGS = frozenset(("7bit", "8bit", "binary", "base64", "quoted-printable"))


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text to show. `text` is plain with LF line ends; `html` the markup where the part is HTML, else empty."""

    number: str
    entity: Entity
    text: str
    html: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is offered, not shown. `name` is safe as a file name; `given_name` is what the sender wrote."""

    number: str
    entity: Entity
    name: str
    given_name: str
    note: str = ""

    @property
    def type(self) -> str:
        """The media type as the sender named it."""
        return self.entity.content_type.full


@dataclass(frozen=True, slots=True)
class View:
    """What a person is shown of a message."""

    authors: tuple[str, ...]
    recipients: tuple[str, ...]
    copies: tuple[str, ...]
    subject: str
    date: datetime | None
    texts: tuple[ShownText, ...]
    attachments: tuple[Attachment, ...]
    defects: tuple[Defect, ...]

    @property
    def ambiguities(self) -> tuple[Defect, ...]:
        """The defects on which readers differ."""
        return tuple(defect for defect in self.defects if defect.kind.ambiguous)


def view(message: Entity | bytes, *, prefer: str = "plain", limits: Limits = DEFAULT) -> View:
    """Return the view of a message. Never raises. `prefer` is the text subtype wanted of alternatives."""
    tree = parse(message, limits=limits) if isinstance(message, bytes) else message
    viewer = _Viewer(prefer, limits)
    viewer.take(tree)
    header = tree.header
    defects = [*tree.all_defects(), *check_message_header(header), *viewer.defects]
    for part in tree.entities():
        if part is not tree:
            defects += check_fields(part.header)
        defects += _check_part(part)
    return View(
        authors=people(header, "from"),
        recipients=people(header, "to"),
        copies=people(header, "cc"),
        subject=visible(decode(header.text("subject"), defects)),
        date=parse_date(header.text("date")) if "date" in header else None,
        texts=tuple(viewer.texts),
        attachments=tuple(viewer.attachments),
        defects=tuple(dict.fromkeys(defects)),
    )


def people(header: Header, name: str) -> tuple[str, ...]:
    """Return the people in all fields of a name, as lines to show: the address always stands after the name."""
    found: list[str] = []
    for field in header.get_all(name):
        for item in parse_addresses(field.text).items:
            if isinstance(item, Group):
                found.append(visible(f"{item.display_name}: {', '.join(map(_person, item.members))};"))
            else:
                found.append(_person(item))
    return tuple(found)


def _person(mailbox: Mailbox) -> str:
    name = mailbox.display_name
    return visible(f"{name} <{mailbox.address}>" if name else mailbox.address)


class _Viewer:
    """Walks the tree once, sorting parts into what is shown and what is offered."""

    def __init__(self, prefer: str, limits: Limits) -> None:
        self._prefer = prefer
        self._left = limits.decoded_octets
        self.texts: list[ShownText] = []
        self.attachments: list[Attachment] = []
        self.defects: list[Defect] = []
        self._leading: dict[int, Entity] = {}  # the leaf by which each entity is judged among alternatives

    def _leading_leaf(self, entity: Entity) -> Entity:
        if not entity.is_multipart:
            return entity
        related = entity.content_type.subtype == "related"
        return self._leading[id(_related_root(entity) if related else entity.children[0])]

    def take(self, tree: Entity) -> None:
        """Sort every part below, in reading order, without recursion."""
        numbers = {id(entity): number for number, entity in tree.walk()}
        for entity in reversed(list(tree.entities())):
            self._leading[id(entity)] = self._leading_leaf(entity)
        pending = [tree]
        while pending:
            entity = pending.pop()
            if entity.is_multipart:
                pending += reversed(self._parts_of(entity, numbers))
            elif _is_shown(entity):
                self._show(entity, numbers[id(entity)])
            else:
                self._offer(entity, numbers[id(entity)])

    def _parts_of(self, entity: Entity, numbers: dict[int, str]) -> list[Entity]:
        """Return the parts of a multipart that are to be looked at; the others are offered or left out."""
        parts = list(entity.children)
        match entity.content_type.subtype:
            case "alternative":
                return [self._choose(parts)]
            case "related":
                root = _related_root(entity)
                return [root, *(part for part in parts if part is not root)]
            case "signed" if len(parts) > 1:
                for part in parts[1:]:
                    self._offer(part, numbers[id(part)], "signature")
                return parts[:1]
            case "encrypted":
                for part in parts:
                    self._offer(part, numbers[id(part)], "encrypted")
                return []
        return parts

    def _choose(self, parts: list[Entity]) -> Entity:
        """Return the alternative to show: the last of the preferred subtype, else the last that can be shown."""
        # RFC 2046 section 5.1.4: the last that can be shown is the sender's best.
        best = parts[-1]
        rank = -1
        for part in parts:
            leading = self._leading[id(part)]
            shown = _is_shown(leading)
            this = 2 if shown and leading.content_type.subtype == self._prefer else 1 if shown else 0
            if this >= rank:
                best, rank = part, this
        return best

    def _show(self, entity: Entity, number: str) -> None:
        if entity.size > self._left:
            self.defects.append(Defect(Kind.TOO_LARGE, entity.body_start))
            self._offer(entity, number, "too large to show")
            return
        self._left -= entity.size
        text = entity.text(self.defects)
        self._check_text(entity, text)
        subtype = entity.content_type.subtype
        parameters = entity.content_type.parameters
        html = ""
        if subtype == "html":
            html, text = text, html_to_text(text)
        elif subtype in {"enriched", "richtext"}:
            text = render_enriched(text)
        elif parameters.get("format", "").lower() == "flowed":
            text = unflow(text, delete_space=parameters.get("delsp", "").lower() == "yes")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.texts.append(ShownText(number, entity, "\n".join(map(visible, lines)), html))

    def _check_text(self, entity: Entity, text: str) -> None:
        """Name what in a text acts differently on different readers (RFC 2046 section 4.1.1: lines end in CRLF)."""
        at = entity.body_start
        if "\0" in text:
            self.defects.append(Defect(Kind.NUL, at))
        if text.count("\r") != text.count("\r\n"):
            self.defects.append(Defect(Kind.BARE_CR, at))
        if entity.size > 998 and max(map(len, entity.body.split(b"\n"))) > 999:
            self.defects.append(Defect(Kind.LONG_LINE, at))

    def _offer(self, entity: Entity, number: str, note: str = "") -> None:
        disposition = entity.disposition
        given = disposition.filename if disposition is not None else ""
        named = entity.content_type.parameters.get("name", "")
        if given and named and given != named:
            self.defects.append(Defect(Kind.NAME_CONFLICT, entity.header_start))
        given = given or named
        if not given and entity.is_message:
            given = decode(entity.children[0].header.text("subject"))[:80] + ".eml"
        name = safe_name(given, entity.content_type, number)
        if given and name != given:
            self.defects.append(Defect(Kind.UNSAFE_NAME, entity.header_start, visible(given)[:80]))
        external = read_external_body(entity)
        if external is not None:
            note = external.describe()
        elif entity.content_type.full == "message/partial":
            note = "a fragment of a larger message"
        self.attachments.append(Attachment(number, entity, name, visible(given), visible(note)))


def _is_shown(entity: Entity) -> bool:
    """Tell whether a part is text to be shown at once."""
    if entity.content_type.type != "text" or entity.content_type.subtype not in _SHOWN_SUBTYPES:
        return False
    if entity.encoding not in _KNOWN_ENCODINGS:  # RFC 2045 section 6.4: then it is application/octet-stream
        return False
    disposition = entity.disposition
    return disposition is None or not disposition.is_attachment


def _related_root(entity: Entity) -> Entity:
    """Return the root of a multipart/related: the part `start` names, else the first (RFC 2387 section 3.2)."""
    start = entity.content_type.parameters.get("start", "").strip(" <>")
    if start:
        for part in entity.children:
            if part.content_id == start:
                return part
    return entity.children[0]


def _check_part(part: Entity) -> list[Defect]:
    """Return what one part says that readers may take differently."""
    found: list[Defect] = []
    at = part.header_start
    if part.children:
        first, last = part.children[0], part.epilogue_start
        if part.is_multipart:
            preamble = part.octets[part.body_start : max(part.body_start, first.header_start - 4)]
            epilogue = part.octets[last : part.end] if last >= 0 else b""
            if any(len(text.strip()) > 200 or b"<" in text for text in (preamble, epilogue)):
                found.append(Defect(Kind.HIDDEN_TEXT, part.body_start))
        return found
    if part.encoding not in _KNOWN_ENCODINGS:
        found.append(Defect(Kind.UNKNOWN_ENCODING, at, part.encoding[:60]))
    if part.encoding == "base64" and has_foreign_base64(part.body):
        found.append(Defect(Kind.BAD_BASE64, part.body_start))
    if part.content_type.type == "text" and codec_name(part.content_type.charset or "us-ascii") is None:
        found.append(Defect(Kind.UNKNOWN_CHARSET, at, part.content_type.charset[:60]))
    disposition = part.disposition
    return found + list(disposition.defects) if disposition is not None else found
