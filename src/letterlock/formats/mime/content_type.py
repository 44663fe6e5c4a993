"""Content-Type, Content-Disposition, Content-Transfer-Encoding, Content-ID and MIME-Version as values.

Standards: RFC 2045 sections 4 to 8, RFC 2183, RFC 2046 (what the types mean), RFC 6532 section 3.7 (message/global).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.parameters import read_parameters, write_parameters

_NONE: Mapping[str, str] = MappingProxyType({})
# The shapes of nearly all fields; everything else goes through the lexer.
_NAME = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]++"
_PLAIN_NAME = r"[!#$&+\-.0-9A-Z^_`a-z{|}~]++"  # no RFC 2231 marks
_PLAIN = re.compile(
    rf"({_NAME})/({_NAME})"
    rf"((?>(?:[ \t]*+;[ \t]*+{_PLAIN_NAME}=(?:\"[^\"\\]*+\"|{_PLAIN_NAME}))*))[ \t]*+;?[ \t]*+"
)
_PLAIN_PARAMETER = re.compile(r";[ \t]*+([^=]++)=(?:\"([^\"]*+)\"|([^; \t]++))")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type: lower-case `type` and `subtype`, parameters by lower-case name, decoded."""

    type: str
    subtype: str
    parameters: Mapping[str, str] = field(default_factory=lambda: _NONE)
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def full(self) -> str:
        """`type/subtype`."""
        return f"{self.type}/{self.subtype}"

    @property
    def boundary(self) -> str:
        """The boundary parameter without white space at its end (RFC 2046 section 5.1.1), or an empty string."""
        return self.parameters.get("boundary", "").rstrip(" \t\r\n")

    @property
    def charset(self) -> str:
        """The charset parameter in lower case, or an empty string, which is US-ASCII (RFC 2046 section 4.1.2)."""
        return self.parameters.get("charset", "").strip().lower()

    def __str__(self) -> str:
        return "; ".join([self.full, *write_parameters(self.parameters.items(), line=998)])


TEXT_PLAIN = ContentType("text", "plain", MappingProxyType({"charset": "us-ascii"}))  # RFC 2045 section 5.2
MESSAGE = ContentType("message", "rfc822")  # RFC 2046 section 5.1.5: the default inside multipart/digest


def parse_content_type(value: str, *, limits: Limits = DEFAULT) -> ContentType:
    """Read an unfolded Content-Type; one that cannot be read is text/plain with a defect (RFC 2045 section 5.2)."""
    return _remembered(value) if len(value) < 64 else _parse(value, limits)


@functools.lru_cache(maxsize=1024)
def _remembered(value: str) -> ContentType:
    return _parse(value, DEFAULT)


def _parse(value: str, limits: Limits) -> ContentType:
    plain = _PLAIN.fullmatch(value)
    if plain and "=?" not in value and value.count(";") <= 16:
        parameters: dict[str, str] = {}
        for name, quoted, token in _PLAIN_PARAMETER.findall(plain[3]):
            if name.lower() in parameters:
                break
            parameters[name.lower()] = quoted or token
        else:
            return ContentType(plain[1].lower(), plain[2].lower(), MappingProxyType(parameters))
    defects: list[Defect] = []
    words, parameters = read_parameters(value, defects, limits=limits)
    whole = "".join(words)
    main, slash, sub = whole.partition("/")
    if not slash or not _is_name(main) or not _is_name(sub):
        # QUIRK bare-type: a type without a slash is text/plain (RFC 2045 section 5.2)
        defects.append(Defect(Kind.BAD_CONTENT_TYPE, 0, whole[:60]))
        return ContentType("text", "plain", MappingProxyType(parameters), tuple(defects))
    return ContentType(main.lower(), sub.lower(), MappingProxyType(parameters), tuple(defects))


def _is_name(name: str) -> bool:
    return bool(name) and all("!" <= character <= "~" and character not in '()<>@,;:\\"/[]?=' for character in name)


@dataclass(frozen=True, slots=True)
class Disposition:
    """Content-Disposition: lower-case `value` ("inline", "attachment", ...) and parameters (RFC 2183)."""

    value: str
    parameters: Mapping[str, str] = field(default_factory=lambda: _NONE)
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def filename(self) -> str:
        """The filename parameter as the sender gave it: never use it as a path (see mime/filenames)."""
        return self.parameters.get("filename", "")

    @property
    def is_attachment(self) -> bool:
        """Whether the part is not to be shown at once; unknown values are attachments (RFC 2183 section 2.8)."""
        return self.value != "inline"


def parse_disposition(value: str, *, limits: Limits = DEFAULT) -> Disposition:
    """Read an unfolded Content-Disposition. Never raises; an unreadable one is an attachment with a defect."""
    defects: list[Defect] = []
    words, parameters = read_parameters(value, defects, limits=limits)
    name = "".join(words).lower()
    if not _is_name(name):
        defects.append(Defect(Kind.BAD_PARAMETER, 0, "Content-Disposition"))
        name = "attachment"
    return Disposition(name, MappingProxyType(parameters), tuple(defects))


def parse_encoding(value: str) -> str:
    """Return the mechanism an unfolded Content-Transfer-Encoding names, in lower case, without comments."""
    lowered = value.lower().strip(" \t")
    if lowered.isalnum() or not lowered:
        return lowered
    defects: list[Defect] = []
    words, _ = read_parameters(lowered, defects)
    return "".join(words)
