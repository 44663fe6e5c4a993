"""Defects: what a lenient reader saw that the standard does not allow, or that two readers may read differently.

A reader never fails on octets from outside. It returns a value and, beside it, a tuple of `Defect`s, each with its
`Kind`, the offset where it stands and, where it helps, a word of detail. `Kind.ambiguous` tells the kinds on which two
correct-looking programs differ: whoever makes a trust decision refuses content that has one.

Standards: RFC 5322 section 4 (obsolete syntax that must be read), RFC 2049 section 2 (what a reader must bear),
RFC 7103 (advice on malformed messages).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """The name of a defect; `kind.sentence` says what it means, `kind.ambiguous` whether readers differ on it."""

    # Lines and header sections
    BARE_LF = "bare-lf", "a line ends in LF without CR", False
    BARE_CR = "bare-cr", "a CR stands without LF", True
    NUL = "nul", "an octet of value zero", True
    LONG_LINE = "long-line", "a line of more than 998 octets", False
    MBOX_FROM = "mbox-from", "a 'From ' line of a mailbox file stands before the header section", False
    HEADER_JUNK = "header-junk", "a line that is no field ends the header section without an empty line", True
    HEADER_TOO_LARGE = "header-too-large", "the header section exceeds its limit; the rest was read as body", True
    TOO_MANY_FIELDS = "too-many-fields", "more header fields than the limit; the rest was read as body", True
    SPACE_BEFORE_COLON = "space-before-colon", "white space between a field's name and its colon", True
    RAW_8BIT = "raw-8bit", "octets in a header field that are neither ASCII nor UTF-8", True
    DUPLICATE_FIELD = "duplicate-field", "a field that may stand once stands several times", True
    MISSING_FIELD = "missing-field", "a field that must be there is not", False
    # Structured values
    UNCLOSED_QUOTE = "unclosed-quote", "a quoted string without its end", True
    UNCLOSED_COMMENT = "unclosed-comment", "a comment without its end", True
    COMMENT_IN_ADDRESS = "comment-in-address", "a comment inside an address, where simple readers see text", True
    OBSOLETE_ROUTE = "obsolete-route", "a source route in an address", False
    EMPTY_ELEMENT = "empty-element", "an empty element in a list", False
    NO_DOMAIN = "no-domain", "a mailbox without a domain", False
    BAD_ADDRESS = "bad-address", "text that is no address", True
    UNCLOSED_ANGLE = "unclosed-angle", "an angle bracket without its partner", True
    UNCLOSED_GROUP = "unclosed-group", "a group without its semicolon", False
    NAME_IS_ADDRESS = "name-is-address", "a display name that looks like another address", True
    SEVERAL_AUTHORS = "several-authors", "more than one author address", True
    BAD_DATE = "bad-date", "a date that cannot be read", False
    OBSOLETE_DATE = "obsolete-date", "a date in the obsolete syntax", False
    BAD_MESSAGE_ID = "bad-message-id", "a message identifier that cannot be read", False
    BAD_ENCODED_WORD = "bad-encoded-word", "an encoded word that cannot be decoded", False
    ENCODED_WORD_LOOSE = "encoded-word-loose", "an encoded word where or as the standard does not allow it", True
    CONTROL_CHARACTER = "control-character", "a control or direction character in text shown to people", True
    # MIME
    MIME_VERSION = "mime-version", "a MIME-Version that is not 1.0", False
    BAD_CONTENT_TYPE = "bad-content-type", "a Content-Type that cannot be read; text/plain is taken", True
    COMMENT_IN_TYPE = "comment-in-type", "a comment in a type, where simple readers see text", True
    DUPLICATE_CONTENT_TYPE = "duplicate-content-type", "several Content-Type fields; the first counts", True
    DUPLICATE_ENCODING = "duplicate-encoding", "several Content-Transfer-Encoding fields; the first counts", True
    DUPLICATE_DISPOSITION = "duplicate-disposition", "several Content-Disposition fields; the first counts", True
    DUPLICATE_PARAMETER = "duplicate-parameter", "a parameter given twice; the first counts", True
    BAD_PARAMETER = "bad-parameter", "a parameter that cannot be read", False
    PARAMETER_GAP = "parameter-gap", "a continued parameter with sections missing or out of form", True
    PARAMETER_ENCODED_WORD = "parameter-encoded-word", "an encoded word in a parameter", False
    TOO_MANY_PARAMETERS = "too-many-parameters", "more parameters than the limit", True
    NAME_CONFLICT = "name-conflict", "the names in Content-Type and Content-Disposition differ", True
    UNKNOWN_ENCODING = "unknown-encoding", "a transfer encoding nobody knows; the octets are kept as they are", True
    ENCODED_COMPOSITE = "encoded-composite", "a transfer encoding on a multipart or message part", True
    BAD_BASE64 = "bad-base64", "characters that base64 does not have; they are passed over", True
    BASE64_END = "base64-end", "base64 whose end is missing or padded wrongly", False
    BASE64_AFTER_END = "base64-after-end", "base64 that goes on after its padding", True
    BAD_QUOTED_PRINTABLE = "bad-quoted-printable", "an equals sign that begins no quoted-printable octet", False
    UNKNOWN_CHARSET = "unknown-charset", "a charset nobody knows; octets above 127 are not shown", True
    BAD_CHARSET_OCTETS = "bad-charset-octets", "octets the named charset does not have", False
    BOUNDARY_MISSING = "boundary-missing", "a multipart without a boundary; it is taken as one opaque part", True
    BOUNDARY_UNQUOTED = "boundary-unquoted", "a boundary that must be quoted and is not; all of it counts", True
    BOUNDARY_ODD = "boundary-odd", "a boundary longer than 70 characters or of other characters than allowed", False
    BOUNDARY_REUSED = "boundary-reused", "a multipart with the boundary of one around it; the outer one counts", True
    BOUNDARY_LOOKALIKE = "boundary-lookalike", "a line that begins like a delimiter and goes on", True
    BOUNDARY_ABSENT = "boundary-absent", "a multipart whose boundary never occurs", True
    CLOSE_DELIMITER_MISSING = "close-delimiter-missing", "a multipart without its closing delimiter", False
    NO_PARTS = "no-parts", "a multipart that holds no part", True
    EMPTY_PART = "empty-part", "two delimiters on end; some readers see no part between them", True
    HIDDEN_TEXT = "hidden-text", "text before the first or after the last part, which people do not see", False
    NESTING_TOO_DEEP = "nesting-too-deep", "nesting beyond the limit; deeper parts are opaque", True
    TOO_MANY_PARTS = "too-many-parts", "more parts than the limit; the rest was not split", True
    TOO_LARGE = "too-large", "decoded content beyond the limit", True
    UNSAFE_NAME = "unsafe-name", "a file name that was changed to be safe", False
    BAD_REPORT = "bad-report", "a report whose fields do not follow its standard", False

    def __init__(self, label: str, sentence: str, ambiguous: bool) -> None:
        self.label = label
        self.sentence = sentence
        self.ambiguous = ambiguous

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"Kind.{self.name}"


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect: its kind, the offset in octets (or characters of a decoded value) where it stands, and a detail."""

    kind: Kind
    offset: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.label} at {self.offset}" + (f": {self.detail}" if self.detail else "")
