"""text/enriched rendered as plain text: commands are dropped or shown by plain means, nothing is executed.

Standards: RFC 1896 (the whole format, its line break rules above all), RFC 2046 section 4.1.4 (unknown text subtypes).
Limits: linear; nesting is a counter, not a stack of frames. Indentation is at most `_MOST_INDENT` columns.
"""

from __future__ import annotations

import re

_COMMAND = re.compile(r"<(/?)([A-Za-z0-9-]{1,60})>|<<")
_NEWLINES = re.compile(r"\n+")
_MARKS = {"bold": "*", "italic": "/", "underline": "_"}
_MOST_INDENT = 40


def render_enriched(text: str) -> str:
    """Return enriched text with any line ends as plain text with LF line ends.

    One line end is a space, n of them are n-1, except inside `nofill`; `<<` is `<`; `param` content is not shown;
    `excerpt` is quoted with `> `; bold, italic and underlined text is marked as in plain mail.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    renderer = _Renderer()
    at = 0
    for command in _COMMAND.finditer(text):
        renderer.text(text[at : command.start()])
        at = command.end()
        if command[2] is None:
            renderer.text("<")
        else:
            renderer.command(command[2].lower(), bool(command[1]))
    renderer.text(text[at:])
    return renderer.result()


class _Renderer:
    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth: dict[str, int] = {}
        self._at_line_start = True

    def text(self, text: str) -> None:
        """Take in text between commands."""
        if not text or self._depth.get("param"):
            return
        if not self._depth.get("nofill"):
            text = _NEWLINES.sub(lambda run: " " if len(run[0]) == 1 else run[0][1:], text)
        prefix = "> " * min(self._depth.get("excerpt", 0), _MOST_INDENT // 2)
        prefix += "    " * min(self._depth.get("indent", 0), _MOST_INDENT // 4)
        for number, line in enumerate(text.split("\n")):
            if number:
                self._pieces.append("\n")
                self._at_line_start = True
            if line:
                if self._at_line_start:
                    self._pieces.append(prefix)
                self._pieces.append(line)
                self._at_line_start = False

    def command(self, name: str, closes: bool) -> None:
        """Take in a command; a closing one without its opening is passed over."""
        depth = self._depth.get(name, 0)
        if closes and not depth:
            return
        if name in _MARKS and not self._depth.get("param"):
            self.text(_MARKS[name])
        elif (
            name in {"excerpt", "center", "flushleft", "flushright", "flushboth", "indent"} and not self._at_line_start
        ):
            self._pieces.append("\n")
            self._at_line_start = True
        self._depth[name] = depth - 1 if closes else depth + 1

    def result(self) -> str:
        return "".join(self._pieces)
