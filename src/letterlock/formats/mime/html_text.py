"""HTML read as plain text, for terminals, search and quoting: words in order, links named, nothing run or fetched.

Scripts, styles and what is hidden by the `hidden` attribute are left out. The target of a link follows its text where
the text does not say it, so that a disguised link shows itself.

Standards: RFC 2854 (text/html); the rendering itself has no standard.
Limits: the parser bounds nesting; linear in the elements.
"""

from __future__ import annotations

import re

from lxml import etree

_BLOCKS = frozenset([
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main",
    "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
])  # fmt: skip
_APART = frozenset(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_UNSEEN = frozenset(("script", "style", "head", "title", "template", "noscript", "object", "iframe", "svg", "math"))
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BLANK_LINES = re.compile(r"\n{3,}")


def html_to_text(html: str) -> str:
    """Return the text of an HTML document with LF line ends. Never raises; broken HTML is read as browsers do."""
    parser = etree.HTMLParser(recover=True, no_network=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = etree.fromstring(html.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return ""
    if root is None:
        return ""
    return _Renderer().render(root)


class _Renderer:
    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unseen = 0
        self._pre = 0
        self._links: list[tuple[str, int]] = []

    def render(self, root: etree._Element) -> str:
        for event, element in etree.iterwalk(root, events=("start", "end")):
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                self._start(tag, element)
                self._text(element.text)
            else:
                self._end(tag, element)
                self._text(element.tail)
        text = "".join(self._pieces).replace("\xa0", " ")
        lines = [line.rstrip() for line in text.split("\n")]
        return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n") + "\n"

    def _start(self, tag: str, element: etree._Element) -> None:
        if self._unseen or tag in _UNSEEN or "hidden" in element.attrib:
            self._unseen += 1
            return
        if tag == "br":
            self._pieces.append("\n")
        elif tag in _BLOCKS:
            self._newline(2 if tag in _APART else 1)
        if tag == "pre":
            self._pre += 1
        elif tag == "li":
            self._pieces.append("- ")
        elif tag == "hr":
            self._pieces.append("-" * 40)
        elif tag == "img" and element.get("alt"):
            self._text(f"[{element.get('alt')}]")
        elif tag in {"td", "th"}:
            self._text(" ")
        elif tag == "a":
            self._links.append((element.get("href") or "", len(self._pieces)))

    def _end(self, tag: str, element: etree._Element) -> None:
        if self._unseen:
            self._unseen -= 1
            return
        if tag == "a" and self._links:
            target, at = self._links.pop()
            shown = "".join(self._pieces[at:]).strip()
            if target and not target.startswith("#") and shown not in {target, target.removeprefix("mailto:")}:
                self._pieces.append(f" <{target.strip()}>")
        elif tag == "pre":
            self._pre -= 1
        if tag in _BLOCKS:
            self._newline(2 if tag in _APART else 1)

    def _text(self, text: str | None) -> None:
        if not text or self._unseen:
            return
        if not self._pre:
            text = _SPACE.sub(" ", text)
            if not self._pieces or self._pieces[-1].endswith(("\n", " ")):
                text = text.lstrip(" ")
        if text:
            self._pieces.append(text)

    def _newline(self, count: int) -> None:
        """End the line, and leave an empty one for two, unless that has been done."""
        if not self._pieces:
            return
        tail = self._pieces[-1]
        have = len(tail) - len(tail.rstrip("\n")) if tail.strip("\n") else len(tail) + 1
        if have < count:
            self._pieces.append("\n" * (count - have))
