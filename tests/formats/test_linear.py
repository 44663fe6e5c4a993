"""Twice the input is twice the work, counted and not timed.

Work is what the interpreter executes in our code, opcode by opcode, and the octets that searches in the message pass
over. Every case is something an attacker can make many of.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, SupportsIndex

import pytest

from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode, encode
from letterlock.formats.imf.header import read_header
from letterlock.formats.imf.message_ids import parse_message_ids
from letterlock.formats.imf.trace import parse_received, resent_blocks
from letterlock.formats.limits import Limits
from letterlock.formats.mime.build import Multipart, Text, build, rebuild
from letterlock.formats.mime.canonical import seven_bit
from letterlock.formats.mime.content_type import parse_content_type
from letterlock.formats.mime.enriched import render_enriched
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.flowed import unflow
from letterlock.formats.mime.html_text import html_to_text
from letterlock.formats.mime.transfer import decode as decode_body
from letterlock.formats.mime.transfer import encode_quoted_printable
from letterlock.formats.mime.view import view
from letterlock.formats.reports.dsn import read_delivery_status

WIDE = Limits(
    nesting=1_000_000, parts=1_000_000, fields=1_000_000, header_octets=10**9, parameters=10**6, addresses=10**6
)


class Counted(bytes):
    """Octets that count how far searches in them go."""

    searched = 0

    def find(self, sub: Any, start: SupportsIndex | None = None, end: SupportsIndex | None = None) -> int:
        first = 0 if start is None else int(start)
        found = super().find(sub, first, end)
        Counted.searched += (found if found >= 0 else len(self) if end is None else int(end)) - first
        return found

    def count(self, sub: Any, start: SupportsIndex | None = None, end: SupportsIndex | None = None) -> int:
        Counted.searched += (len(self) if end is None else int(end)) - (0 if start is None else int(start))
        return super().count(sub, start, end)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            Counted.searched += len(found)
        return found


def _work(call: Callable[[], object]) -> int:
    """Return how many opcodes of letterlock run in `call`, and an eighth of the octets searched."""
    steps = 0

    def local(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal steps
        steps += event == "opcode"
        return local

    def start(frame: FrameType, _event: str, _argument: object) -> Any:
        if "letterlock" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return local

    Counted.searched = 0
    previous = sys.gettrace()
    sys.settrace(start)
    try:
        call()
    finally:
        sys.settrace(previous)
    return steps + Counted.searched // 8


def _grows_evenly(use: Callable[[Any], object], make: Callable[[int], Any]) -> bool:
    """Tell whether twice the input takes at most little more than twice the work."""

    def work(n: int) -> int:
        made = make(n)
        return _work(lambda: use(made))

    return work(600) <= 2.15 * work(300)


MIXED = b"Content-Type: multipart/mixed; boundary=%b\n\n"


def _nested(n: int, boundary: Callable[[int], bytes]) -> bytes:
    return b"".join(MIXED % boundary(k) + b"--%b\n" % boundary(k) for k in range(n)) + b"\ncore"


def _closed(n: int) -> bytes:
    return _nested(n, lambda k: b"%04d" % k) + b"".join(b"\n--%04d--" % k for k in reversed(range(n)))


MESSAGES: dict[str, Callable[[int], bytes]] = {
    "fields": lambda n: b"A: b\r\n" * n,
    "folded lines": lambda n: b"A: b\r\n" + b" c\r\n" * n,
    "parts": lambda n: MIXED % b"x" + b"--x\n\ntext\n" * n + b"--x--",
    "parts without empty lines": lambda n: MIXED % b"x" + b"--x\nA: b\n" * n,
    "delimiters alone": lambda n: MIXED % b"x" + b"--x\n" * n,
    "parts that never begin inside": lambda n: MIXED % b"x" + b"".join(b"--x\n" + MIXED % b"y%d" % k for k in range(n)),
    "nested multiparts": _closed,
    "nested multiparts left open": lambda n: _nested(n, lambda k: b"%04d" % k),
    "nested multiparts of one boundary": lambda n: _nested(n, lambda _: b"x"),
    "nested multiparts of growing boundaries": lambda n: _nested(n, lambda k: b"x" * (k % 60 + 1) + b"%d" % k),
    "nested messages": lambda n: b"Content-Type: message/rfc822\n\n" * n,
    "lines of hyphens": lambda n: MIXED % b"x" + b"--\n" * n,
    "lines of hyphens in depth": lambda n: _nested(9, lambda k: b"x%d" % k) + b"\n--y\n" * n,
    "delimiter lookalikes": lambda n: MIXED % b"x" + b"--xy\n" * n,
    "delimiters with endless padding": lambda n: MIXED % b"x" + b"--x" + b" " * n + b"y",
    "closing delimiters": lambda n: MIXED % b"x" + b"--x--\n" * n,
    "digest": lambda n: b"Content-Type: multipart/digest; boundary=x\n\n" + b"--x\n\nSubject: a\n\nb\n" * n,
    "alternatives in alternatives": lambda n: _closed(n).replace(b"mixed", b"alternative"),
    "duplicate fields": lambda n: b"Content-Type: text/plain\n" * n,
    "base64 text": lambda n: b"Content-Transfer-Encoding: base64\n\n" + b"QUJD=\n" * n,
    "quoted-printable text": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=4=\t=\n" * n,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_structure_grows_with_the_message(name: str) -> None:
    """Fields, parts, nesting, delimiters true and false."""
    assert _grows_evenly(lambda octets: parse(Counted(octets), limits=WIDE), MESSAGES[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_use_grows_with_the_message(name: str) -> None:
    """Showing, writing back, and every defect. (Part numbers of nested parts are as long as they are deep.)"""
    make = MESSAGES[name]

    def use(n: int) -> int:
        tree = parse(make(n), limits=WIDE)
        return _work(lambda: (view(tree, limits=WIDE), rebuild(tree), tree.all_defects(), list(tree.walk())))

    assert use(300) <= 2.15 * use(150)


VALUES: dict[str, tuple[Callable[[str], object], Callable[[int], str]]] = {
    "recipients": (parse_addresses, lambda n: "a@b.test, " * n),
    "recipients with names": (parse_addresses, lambda n: '"A, B" <a@b.test>, ' * n),
    "recipients with comments": (parse_addresses, lambda n: "a@b.test (c), " * n),
    "empty elements": (parse_addresses, lambda n: "," * n),
    "nested comments": (parse_addresses, lambda n: "(" * n + ")" * n + "a@b"),
    "unclosed comments": (parse_addresses, lambda n: "(" * n),
    "comments": (parse_addresses, lambda n: "()" * n),
    "quotes": (parse_addresses, lambda n: '"" ' * n),
    "backslashes": (parse_addresses, lambda n: '"' + "\\" * n),
    "angles": (parse_addresses, lambda n: "<" * n),
    "angles closed": (parse_addresses, lambda n: "<>" * n),
    "groups": (parse_addresses, lambda n: "g:a@b;" * n),
    "colons": (parse_addresses, lambda n: ":" * n),
    "brackets": (parse_addresses, lambda n: "[" * n),
    "at signs": (parse_addresses, lambda n: "@" * n),
    "dots": (parse_addresses, lambda n: "a." * n),
    "routes": (parse_addresses, lambda n: "<@a,@b:" * n),
    "words": (parse_addresses, lambda n: "a " * n),
    "encoded words": (decode, lambda n: "=?utf-8?q?a?= " * n),
    "encoded words apart": (decode, lambda n: "=?utf-8?q?a?= b " * n),
    "encoded words of many charsets": (decode, lambda n: "=?utf-8?q?a?= =?latin1?q?a?= " * n),
    "broken encoded words": (decode, lambda n: "=?utf-8?b?!?= " * n),
    "beginnings of encoded words": (decode, lambda n: "=?" * n),
    "beginnings of encoded text": (decode, lambda n: "=?a?q?" * n),
    "text to encode": (encode, lambda n: "ü" * n),
    "parameters": (lambda v: parse_content_type(v, limits=WIDE), lambda n: "a/b" + "; x=y" * n),
    "distinct parameters": (
        lambda v: parse_content_type(v, limits=WIDE), lambda n: "a/b" + "".join(f"; x{k}=y" for k in range(n)),
    ),
    "parameter sections": (
        lambda v: parse_content_type(v, limits=WIDE), lambda n: "a/b" + "".join(f"; x*{k}*=%41" for k in range(n)),
    ),
    "semicolons": (lambda v: parse_content_type(v, limits=WIDE), lambda n: "a/b" + ";" * n),
    "message identifiers": (parse_message_ids, lambda n: "<a@b> " * n),
    "odd message identifiers": (parse_message_ids, lambda n: '<"a"@b> ' * n),
    "open message identifiers": (parse_message_ids, lambda n: "<a" * n),
    "received clauses": (parse_received, lambda n: "from a (b) by c " * n),
    "date words": (parse_date, lambda n: "1 (a) " * n),
    "flowed lines": (unflow, lambda n: "> a \n" * n),
    "enriched commands": (render_enriched, lambda n: "<bold>\n\n" * n),
    "excerpts": (render_enriched, lambda n: "<excerpt>a\n\n</excerpt>" * n),
    "elements": (html_to_text, lambda n: "<p><a href=x>y</a><br>" * n),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_grow_with_their_length(name: str) -> None:
    """Recipients, comments, encoded words, parameters, and what never closes."""
    read, make = VALUES[name]
    assert _grows_evenly(read, make)


@pytest.mark.parametrize(
    ("work", "make"),
    [
        (lambda octets: resent_blocks(read_header(octets, limits=WIDE)), lambda n: b"Resent-To: a\n" * n),
        (read_delivery_status, lambda n: b"A: a\n\n" + b"Final-Recipient: a;b\nAction: failed\nStatus: 5.0.0\n\n" * n),
        (read_delivery_status, lambda n: b"junk\n" * n),
        (lambda octets: decode_body(octets, "base64"), lambda n: b"QQ==" * n),
        (encode_quoted_printable, lambda n: b"\xff" * n),
        (encode_quoted_printable, lambda n: b"From \r\n" * n),
        (lambda octets: seven_bit(octets, limits=WIDE), lambda n: MIXED % b"x" + b"--x\n\n\xff\n" * n + b"--x--"),
        (lambda octets: build(Multipart("mixed", [Text("a")] * len(octets)), token="t"), lambda n: b"x" * n),
    ],
)  # fmt: skip
def test_other_work_grows_with_the_octets(work: Callable[[bytes], object], make: Callable[[int], bytes]) -> None:
    """Reports, transfer encodings, building."""
    assert _grows_evenly(work, make)
