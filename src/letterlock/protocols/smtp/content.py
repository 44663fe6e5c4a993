"""Message content on its way: the end of data, leading dots, and line ends that are none.

`DotReader` takes what follows 354 and finds the one end of data there is, <CR><LF>.<CR><LF>; `ChunkReader` takes the
octets that BDAT counted. Both hand the content on in pieces as it comes, each octet looked at a fixed number of times,
and both name the first bare CR, bare LF or NUL: content with one is not passed on (RFC 5321 section 2.3.8), for the
next host might see the end of a message in it. `stuffed` is the way out.

Standards: RFC 5321 section 4.5.2 (transparency), section 2.3.8 (lines), RFC 3030 (BDAT, BINARYMIME).
"""

from __future__ import annotations

import io
import re

END_OF_DATA = b"\r\n.\r\n"
_PROBLEM = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_PROBLEM_NAMES = {b"\r": "a bare CR", b"\n": "a bare LF", b"\0": "a NUL"}


class DotReader:
    """Reads content up to <CR><LF>.<CR><LF>, and takes the added dots out.

    `problem` names what must not be there, as soon as it was seen, or is empty; from then on pieces are empty.
    """

    def __init__(self) -> None:
        # The line end of the DATA command itself stands before the first line, so that a first line of one dot is the
        # end of an empty message (RFC 5321 section 4.1.1.4).
        self._held = b"\r\n"
        self._begun = False
        self.problem = ""

    def receive(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """Return the next piece of content, and what follows the end of data, or None before the end."""
        octets = self._held + octets
        dot = octets.find(b"\r\n.")
        end = octets.find(END_OF_DATA, dot) if dot >= 0 else -1
        if end >= 0:
            piece, rest = octets[: end + 2], octets[end + 5 :]
        else:
            split = len(octets) - _held_length(octets)
            piece, self._held, rest = octets[:split], octets[split:], None
        if not piece:
            return piece, rest
        # A piece begins and ends between lines' CR and LF, never within: what is bare in it is bare.
        self.problem = self.problem or line_problem(piece)
        if dot != end:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if not self._begun:
            self._begun, piece = True, piece[2:]
        return (b"" if self.problem else piece), rest


class ChunkReader:
    """Reads the octets of one BDAT after another; `binary` content may hold any octet."""

    def __init__(self, *, binary: bool) -> None:
        self._binary = binary
        self._held = b""
        self._left = 0
        self.problem = ""

    def expect(self, count: int) -> None:
        """Begin a chunk of `count` octets."""
        self._left = count

    @property
    def is_complete(self) -> bool:
        """Whether the chunk that was begun is there."""
        return self._left == 0

    def receive(self, octets: bytes) -> tuple[bytes, bytes]:
        """Return the next piece of content, and what follows the chunk."""
        taken, rest = octets[: self._left], octets[self._left :]
        self._left -= len(taken)
        if self._binary:
            return taken, rest
        taken = self._held + taken
        self._held = b"\r" if taken.endswith(b"\r") else b""
        piece = taken[:-1] if self._held else taken
        self.problem = self.problem or line_problem(piece)
        return (b"" if self.problem else piece), rest

    def finish(self) -> None:
        """Take note that the last chunk is there: a CR still held back is bare."""
        if self._held:
            self.problem = self.problem or "a bare CR"


def line_problem(octets: bytes) -> str:
    """Return the first of "a bare CR", "a bare LF" and "a NUL" in `octets`, which must not begin or end within a CRLF."""
    if b"\0" not in octets:
        # One pass in C, five times faster than looking for each kind. translate=False: it only looks.
        decoder = io.IncrementalNewlineDecoder(None, translate=False)
        decoder.decode(octets.decode("latin-1"), final=True)
        if decoder.newlines in (None, "\r\n"):
            return ""
    found = _PROBLEM.search(octets)
    return _PROBLEM_NAMES[found[0]] if found else ""


def stuffed(content: bytes) -> bytes:
    """Return content for DATA: dots doubled where lines begin with one, and the end of data behind it.

    A last line without its CRLF gets one (RFC 5321 section 4.1.1.4).
    """
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    if not content or content.endswith(b"\r\n"):
        return content + b".\r\n"
    return content + END_OF_DATA


def _held_length(octets: bytes) -> int:
    # How many of the last octets may be the beginning of the end of data.
    for length in (4, 3, 2, 1):
        if octets.endswith(END_OF_DATA[:length]):
            return length
    return 0
