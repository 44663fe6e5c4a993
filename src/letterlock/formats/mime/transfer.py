"""Transfer encodings: 7bit, 8bit, binary, quoted-printable and base64, whole and streaming.

Reading never fails: octets an encoding does not have are skipped (base64) or kept (quoted-printable) and named. An
encoding nobody knows is left as it is, never guessed.

Standards: RFC 2045 section 6; section 6.7 (quoted-printable), section 6.8 (base64).
Limits: linear; the encoders hold at most one line, the decoders at most one quantum back.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterable, Iterator

from letterlock.formats.defect import Defect, Kind

IDENTITY = frozenset(("7bit", "8bit", "binary", ""))
_NOT_BASE64 = bytes(
    octet for octet in range(256) if not (chr(octet).isascii() and (chr(octet).isalnum() or octet in b"+/="))
)
_LINE_ENDS = b"\r\n"
_STRAY_EQUALS = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")
_TRAILING_SPACE = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_ESCAPED = re.compile(rb"[^\t -<>-~]")


def decode(octets: bytes, encoding: str, defects: list[Defect] | None = None, offset: int = 0) -> bytes:
    """Return the octets that `encoding` (lower case) carries. Never raises; defects are appended."""
    problems: list[Defect] = [] if defects is None else defects
    if encoding == "base64":
        return decode_base64(octets, problems, offset)
    if encoding == "quoted-printable":
        return decode_quoted_printable(octets, problems, offset)
    if encoding not in IDENTITY:
        problems.append(Defect(Kind.UNKNOWN_ENCODING, offset, encoding[:60]))
    return octets


def decode_base64(octets: bytes, defects: list[Defect], offset: int = 0) -> bytes:
    """Decode base64, skipping what is not of its alphabet (RFC 2045 section 6.8); a lost end loses only itself."""
    clean = octets.translate(None, _LINE_ENDS)
    if len(clean) % 4 == 0:
        try:
            return binascii.a2b_base64(clean, strict_mode=True)
        except binascii.Error:
            pass
    stripped = clean.translate(None, _NOT_BASE64)
    if clean.translate(None, b" \t") != stripped:
        defects.append(Defect(Kind.BAD_BASE64, offset))
    pieces: list[bytes] = []
    at = 0
    while at < len(stripped):
        padding = stripped.find(b"=", at)
        end = len(stripped) if padding < 0 else padding
        data = stripped[at:end]
        at = end
        while at < len(stripped) and stripped[at] == 61:
            at += 1
        pieces.append(_quanta(data, at - end, defects, offset))
        if at < len(stripped):
            defects.append(
                Defect(Kind.BASE64_AFTER_END, offset)
            )  # QUIRK base64-after-end: joined encodings are read on
    return b"".join(pieces)


def _quanta(data: bytes, padding: int, defects: list[Defect], offset: int) -> bytes:
    """Decode one run of base64 characters whatever its length."""
    left = len(data) % 4
    if (-left) % 4 != padding or left == 1:
        defects.append(Defect(Kind.BAD_BASE64, offset))
    if left == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


def decode_quoted_printable(octets: bytes, defects: list[Defect], offset: int = 0) -> bytes:
    """Decode quoted-printable; an equals sign that begins nothing stands for itself (RFC 2045 section 6.7)."""
    stray = _STRAY_EQUALS.search(octets)
    if stray:
        defects.append(Defect(Kind.BAD_QUOTED_PRINTABLE, offset + stray.start()))
    if b" \n" in octets or b" \r\n" in octets or b"\t\n" in octets or b"\t\r\n" in octets or octets[-1:] in b" \t":
        octets = _TRAILING_SPACE.sub(b"", octets)  # RFC 2045 section 6.7 (3)
    if stray:
        octets = _STRAY_EQUALS.sub(b"=3D", octets)
    return binascii.a2b_qp(octets)


def decode_stream(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decode pieces as they come, holding back only what cannot be decoded yet. Same result as `decode`."""
    if encoding not in {"base64", "quoted-printable"}:
        yield from pieces
        return
    held = b""
    for piece in pieces:
        held += piece
        if encoding == "base64":
            cut = _base64_cut(held)
        else:
            cut = held.rfind(b"\n") + 1
            if not cut and len(held) > 65536:  # a line without end: keep only what an escape needs
                cut = len(held) - 3
                cut = next((at for at in range(cut, cut + 3) if held[at] == 61), cut)
        if cut:
            yield decode(held[:cut], encoding)
            held = held[cut:]
    if held:
        yield decode(held, encoding)


def _base64_cut(held: bytes) -> int:
    """Return a prefix length that holds whole quanta and no padding; 0 asks for more."""
    if b"=" in held:
        return 0
    clean = held.translate(None, _NOT_BASE64)
    if len(clean) == len(held):
        return len(held) - len(held) % 4
    surplus = len(clean) % 4
    at = len(held)
    while surplus:
        at -= 1
        surplus -= held[at] not in _NOT_BASE64
    return at


def encode_base64(octets: bytes) -> bytes:
    """Return base64 in lines of 76 characters ended by CRLF (RFC 2045 section 6.8)."""
    return b"".join(encode_base64_stream((octets,)))


def encode_base64_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encode pieces as they come into lines of 76 characters."""
    held = b""
    for piece in pieces:
        held = held + piece if held else piece
        whole = len(held) - len(held) % 57
        if whole:
            yield _base64_lines(held[:whole])
            held = held[whole:]
    if held:
        yield base64.b64encode(held) + b"\r\n"


_BLOCK_LINES = 256  # a block of lines is encoded and cut while it lies in the processor's cache
_BLOCK = struct.Struct("76s" * _BLOCK_LINES)


def _base64_lines(octets: bytes) -> bytes:
    """Encode whole lines, `octets` being a multiple of 57."""
    view, size = memoryview(octets), 57 * _BLOCK_LINES
    whole = len(octets) - len(octets) % size
    blocks = [
        b"\r\n".join(_BLOCK.unpack(binascii.b2a_base64(view[at : at + size], newline=False)))
        for at in range(0, whole, size)
    ]
    rest = binascii.b2a_base64(view[whole:], newline=False)
    blocks += [rest[at : at + 76] for at in range(0, len(rest), 76)]
    return b"\r\n".join(blocks) + b"\r\n"


def encode_quoted_printable(text: bytes) -> bytes:
    """Return canonical text (lines ended by CRLF) as quoted-printable, lines of at most 76 characters.

    CR and LF that are not together are written `=0D` and `=0A`; space before a line end is written out, and so is
    what begins like `From ` or is a lone dot, since old transports touch them (RFC 2049 section 3).
    """
    return b"\r\n".join([_quoted_line(line) for line in text.split(b"\r\n")])


def _quoted_line(line: bytes) -> bytes:
    if _ESCAPED.search(line):
        line = _ESCAPED.sub(lambda found: b"=%02X" % found[0][0], line)
    if line[-1:] in (b" ", b"\t"):
        line = line[:-1] + b"=%02X" % line[-1]
    if line.startswith(b"From "):
        line = b"=46rom " + line[5:]
    elif line == b".":
        line = b"=2E"
    if len(line) <= 76:
        return line
    pieces: list[bytes] = []
    at = 0
    while len(line) - at > 76:
        cut = at + 75
        if line.startswith(b"From ", cut):
            cut -= 1
        if line[cut - 1] == 61:
            cut -= 1
        elif line[cut - 2] == 61:
            cut -= 2
        pieces.append(line[at:cut])
        at = cut
    pieces.append(line[at:])
    return b"=\r\n".join(pieces)
