"""Transfer encodings: 7bit, 8bit, binary, quoted-printable and base64, whole and streaming.

Reading never fails: octets an encoding does not have are skipped (base64) or kept (quoted-printable) and named. An
encoding nobody knows is left as it is, never guessed.

Standards: RFC 2045 section 6; section 6.7 (quoted-printable), section 6.8 (base64).
Limits: linear; the streams hold back at most one line (quoted-printable) or one quantum (base64).
"""

from __future__ import annotations

import binascii
import contextlib
import io
import re
from collections.abc import Iterable, Iterator

import pybase64

from letterlock.errors import Malformed
from letterlock.formats.defect import Defect, Kind

IDENTITY = frozenset(("7bit", "8bit", "binary", ""))
_NOT_BASE64 = bytes(
    octet for octet in range(256) if not (chr(octet).isascii() and (chr(octet).isalnum() or octet in b"+/="))
)
_LINE_ENDS = b"\r\n"
_BASE64_LINES = bytes(set(range(256)) - set(_NOT_BASE64)) + b" \t\r\n"
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


def has_foreign_base64(octets: bytes) -> bool:
    """Tell, without decoding, whether octets hold characters that neither base64 nor its line ends have."""
    return bool(octets.translate(None, _BASE64_LINES))


def decode_base64(octets: bytes | memoryview, defects: list[Defect], offset: int = 0) -> bytes:
    """Decode base64, skipping what is not of its alphabet (RFC 2045 section 6.8); a lost end loses only itself."""
    with contextlib.suppress(Malformed):
        memory = io.BytesIO(bytes(len(octets) // 4 * 3))  # gives away the octets it was written into, uncopied
        for piece in decode_even_base64(memoryview(octets)):
            memory.write(piece)
        memory.truncate()
        return memory.getvalue()
    clean = bytes(octets).translate(None, _LINE_ENDS)
    if len(clean) % 4 == 0:
        try:
            return pybase64.b64decode(clean, validate=True)
        except binascii.Error:
            pass
    stripped = clean.translate(None, _NOT_BASE64)
    if clean.translate(None, b" \t") != stripped:
        defects.append(Defect(Kind.BAD_BASE64, offset))
    runs = stripped.split(b"=")
    ends = [run for run in runs if run]
    if len(ends) > 1 or (ends and runs[0] == b""):
        defects.append(
            Defect(Kind.BASE64_AFTER_END, offset)
        )  # QUIRK base64-after-end: base64 that goes on after its padding is read on
    elif stripped and (not ends or (-len(ends[0])) % 4 != len(runs) - 1 or len(ends[0]) % 4 == 1):
        defects.append(Defect(Kind.BASE64_END, offset))
    return b"".join(map(_decode_run, ends))


def decode_even_base64(octets: memoryview) -> Iterator[bytes]:
    """Yield in pieces what base64 in lines of one length ended by CRLF carries, as nearly everybody writes it.

    Raises Malformed where it is not written so, which `decode_base64` reads nevertheless. Line ends are looked at and
    cut out where they must stand, in blocks that lie in the processor's cache.
    """
    width = bytes(octets[:1000]).find(b"\r\n")
    if width <= 0:
        raise _uneven()
    stride = width + 2
    whole = len(octets) - len(octets) % stride
    step = stride * max(_BLOCK_CHARACTERS // stride // 4 * 4, 4)  # lines enough for whole quanta, whatever their width
    full = True
    try:
        for at in range(0, whole, step):
            block = bytearray(octets[at : min(at + step, whole)])
            lines = len(block) // stride
            if not full or block[width::stride] != b"\r" * lines or block[width + 1 :: stride] != b"\n" * lines:
                raise _uneven()
            del block[width + 1 :: stride]
            del block[width :: width + 1]
            decoded = pybase64.b64decode(block, validate=True)
            full = len(decoded) * 4 == len(block) * 3
            yield decoded
        rest = bytes(octets[whole:]).removesuffix(b"\r\n")
        if rest:
            if not full:
                raise _uneven()
            yield pybase64.b64decode(rest, validate=True)
    except binascii.Error:
        raise _uneven() from None


def _uneven() -> Malformed:
    return Malformed("base64 in lines of several lengths", clause="RFC 2045 section 6.8")


_BLOCK_CHARACTERS = 1 << 16


def _decode_run(run: bytes) -> bytes:
    """Decode base64 characters between paddings; a last character alone is no octet."""
    left = len(run) % 4
    if left == 1:
        run = run[:-1]
    return pybase64.b64decode(run + b"=" * (-len(run) % 4))


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
    """Decode pieces as they come. The result is that of `decode`; less than a quantum or a line is held back."""
    match encoding:
        case "base64":
            yield from _base64_stream(pieces)
        case "quoted-printable":
            yield from _quoted_printable_stream(pieces)
        case _:
            yield from pieces


def _base64_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        *ended, open_run = (held + piece.translate(None, _NOT_BASE64)).split(b"=")
        whole = len(open_run) - len(open_run) % 4
        yield b"".join(map(_decode_run, ended)) + pybase64.b64decode(open_run[:whole])
        held = open_run[whole:]
    yield _decode_run(held)


def _quoted_printable_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []  # the line that is not complete: its end may be white space to delete, or half an octet
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        if cut:
            held.append(piece[:cut])
            yield decode_quoted_printable(b"".join(held), [])
            held = [piece[cut:]]
        else:
            held.append(piece)
    yield decode_quoted_printable(b"".join(held), [])


def encode_base64(*pieces: bytes | memoryview, after: bytes = b"") -> bytes:
    """Return `after` and then the pieces as base64 in lines of 76 characters ended by CRLF (RFC 2045 section 6.8)."""
    octets = sum(map(len, pieces))
    if octets <= _LINE_OCTETS * _BLOCK_LINES:
        return after + b"".join(_encode_base64(pieces))
    size = len(after) + (octets + 2) // 3 * 4 + 2 * -(-octets // _LINE_OCTETS)
    memory = io.BytesIO(bytes(size))  # gives away the octets it was written into, uncopied
    memory.write(after)
    for block in _encode_base64(pieces):
        memory.write(block)
    return memory.getvalue()


def encode_base64_stream(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Encode pieces as they come into lines of 76 characters; large pieces are not copied."""
    return map(bytes, _encode_base64(pieces))


def _encode_base64(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | bytearray]:
    held = b""
    for piece in pieces:
        view = memoryview(piece)
        if held:
            missing = _LINE_OCTETS - len(held)
            held += view[:missing]
            view = view[missing:]
            if len(held) < _LINE_OCTETS:
                continue
            yield pybase64.b64encode(held) + b"\r\n"
        whole = len(view) - len(view) % _LINE_OCTETS
        yield from _base64_lines(view[:whole])
        held = bytes(view[whole:])
    if held:
        yield pybase64.b64encode(held) + b"\r\n"


_LINE_OCTETS = 57  # of which base64 makes 76 characters
_BLOCK_LINES = 1024  # a block of lines is encoded and cut while it lies in the processor's cache


def _base64_lines(octets: memoryview) -> Iterator[bytearray]:
    """Encode whole lines, `octets` being a multiple of 57, in blocks.

    The last character of each line steps aside for a mark that base64 does not have, the marks grow to the size of a
    character and a line end, all by one replacement, and the characters return.
    """
    size = _LINE_OCTETS * _BLOCK_LINES
    for at in range(0, len(octets), size):
        block = bytearray(pybase64.b64encode(octets[at : at + size]))
        last = block[75::76]
        block[75::76] = b"\n" * len(last)
        block = block.replace(b"\n", b"=\r\n")
        block[75::78] = last
        yield block


def encode_quoted_printable(text: bytes) -> bytes:
    """Return canonical text (lines ended by CRLF) as quoted-printable, lines of at most 76 characters.

    CR and LF that are not together are written `=0D` and `=0A`; space before a line end is written out, and so is
    what begins like `From ` or is a lone dot, since old transports touch them (RFC 2049 section 3).
    """
    return b"\r\n".join([_quoted_line(line) for line in text.split(b"\r\n")])


def encode_quoted_printable_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encode canonical text as it comes, a line at a time; the result is that of `encode_quoted_printable`."""
    held: list[bytes] = []
    for piece in pieces:
        if held and held[-1].endswith(b"\r"):  # perhaps half a line end
            held[-1], piece = held[-1][:-1], b"\r" + piece
        found = piece.rfind(b"\r\n")
        if found < 0:
            held.append(piece)
            continue
        cut = found + 2
        held.append(piece[:cut])
        yield encode_quoted_printable(b"".join(held))
        held = [piece[cut:]]
    yield encode_quoted_printable(b"".join(held))


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
