"""text/plain with format=flowed: paragraphs out of lines, and lines out of paragraphs.

Standards: RFC 3676 section 4 (interpreting and generating), section 4.4 (space-stuffing), section 4.5 (quoting),
section 4.6 (DelSp), section 4.3 (the signature line).
Limits: linear in the text.
"""

from __future__ import annotations

from dataclasses import dataclass

_SIGNATURE = "-- "


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph or a fixed line: how deep it is quoted, and its text without quote marks and stuffing."""

    quote_depth: int
    text: str
    fixed: bool = False


def read_flowed(text: str, *, delete_space: bool = False) -> list[Paragraph]:
    """Return the paragraphs of a flowed text with any line ends.

    A flowed line ends in a space and goes on with the next line of the same quote depth; with `delete_space`
    (DelSp=yes) that space is not content.
    """
    paragraphs: list[Paragraph] = []
    pieces: list[str] = []
    open_depth = -1  # the depth of the paragraph that goes on; -1 for none
    for line in _lines(text):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        content = content.removeprefix(" ")  # RFC 3676 section 4.4
        if open_depth >= 0 and (depth != open_depth or content == _SIGNATURE):
            paragraphs.append(Paragraph(open_depth, "".join(pieces)))  # RFC 3676 section 4.5: depth ends a paragraph
            pieces, open_depth = [], -1
        if content == _SIGNATURE:
            paragraphs.append(Paragraph(depth, content, fixed=True))
        elif content.endswith(" "):
            pieces.append(content[:-1] if delete_space else content)
            open_depth = depth
        else:
            is_fixed = open_depth < 0
            paragraphs.append(Paragraph(depth, "".join([*pieces, content]), fixed=is_fixed))
            pieces, open_depth = [], -1
    if open_depth >= 0:
        paragraphs.append(Paragraph(open_depth, "".join(pieces)))
    return paragraphs


def unflow(text: str, *, delete_space: bool = False) -> str:
    """Return a flowed text with each paragraph on one line, quote marks before it, and LF line ends."""
    return "\n".join(
        (">" * one.quote_depth + " " if one.quote_depth else "") + one.text
        for one in read_flowed(text, delete_space=delete_space)
    ) + ("\n" if text else "")


def write_flowed(paragraphs: list[Paragraph], *, width: int = 72) -> str:
    """Return paragraphs as flowed text (DelSp=no) in lines of about `width` characters ended by CRLF.

    A word longer than the line stays whole. Fixed lines are not broken; the space at their end is dropped, since it
    would make them flow (RFC 3676 section 4.2).
    """
    lines: list[str] = []
    for one in paragraphs:
        marks = ">" * one.quote_depth
        if one.text == _SIGNATURE:
            lines.append(f"{marks} {_SIGNATURE}" if marks else _SIGNATURE)
            continue
        room = max(20, width - len(marks) - 1)
        broken = [one.text.rstrip(" ")] if one.fixed else _break(one.text.rstrip(" "), room)
        lines += [marks + _stuffed(line, bool(marks)) for line in broken]
    return "".join(f"{line}\r\n" for line in lines)


def _stuffed(line: str, quoted: bool) -> str:
    """Put a space before what would be taken for stuffing, a quote mark or a mailbox line (RFC 3676 section 4.4)."""
    return f" {line}" if quoted or line.startswith((" ", ">", "From ")) else line


def _break(text: str, room: int) -> list[str]:
    """Break at spaces so that each line but the last keeps its space and flows into the next."""
    lines: list[str] = []
    start = 0
    while len(text) - start > room:
        cut = text.rfind(" ", start, start + room)
        if cut < start:
            cut = text.find(" ", start)
            if cut < 0:
                break
        while cut + 1 < len(text) and text[cut + 1] == " ":
            cut += 1
        if text[start : cut + 1] == _SIGNATURE:  # a line of its own it may not become
            cut = text.find(" ", cut + 1)
            if cut < 0:
                break
        lines.append(text[start : cut + 1])
        start = cut + 1
    lines.append(text[start:])
    return lines


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines
