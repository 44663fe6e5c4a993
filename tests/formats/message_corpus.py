"""Some hundreds of varied messages, made the same way each time: ordinary mail, odd mail, broken mail.

Each has the `traits` that make it special, so that a reader's disagreement can be put down to one of them.
"""

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.header import Header

_TEXTS = {
    "us-ascii": [
        "Hello there,\r\n\r\nthis is plain.\r\n",
        "One line",
        "",
        "-- \r\nSignature\r\n",
        "From here\r\n.\r\n",
    ],
    "utf-8": ["Grüße aus Köln\r\n", "日本語のメール\r\n", "Ελληνικά и русский 🙂\r\n", "é" * 200],
    "iso-8859-1": ["Ça va très bien\r\n", "Größe ½\r\n"],
    "windows-1252": ["“quoted” — €\r\n"],
    "koi8-r": ["Привет, мир\r\n"],
    "iso-2022-jp": ["こんにちは\r\n"],
    "gb2312": ["你好世界\r\n"],
    "big5": ["繁體中文\r\n"],
    "shift_jis": ["テスト\r\n"],
    "euc-kr": ["안녕하세요\r\n"],
    "iso-8859-15": ["œuvre à 5 €\r\n"],
    "utf-16": ["wide text\r\n"],
}
_NAMES = [
    "report.pdf",
    "two words.txt",
    "größe.png",
    "日本.zip",
    "a;b=c.txt",
    'quo"te.txt',
    "x" * 90 + ".bin",
    "naïve café.doc",
]
_WORDS = [
    "meeting", "notes", "about", "the", "quarterly", "plan", "for", "gardens", "rivers", "and", "mountains", "Grüße",
    "müde", "größer", "naïve", "日本", "привет",
]  # fmt: skip
_KINDS = ["mixed", "mixed", "alternative", "related", "digest", "signed", "report", "parallel", "message"]
_DATES = ["Mon, 23 Nov 2026 13:15:15 +0000", "21 Nov 97 09:55:06 GMT", "Thu, 13 Feb 1969 23:32 -0330 (x)"]
_RECEIVED = "Received: from a.test (a.test [192.0.2.1])\r\n\tby b.test with ESMTP id 1;\r\n 21 Nov 1997 10:05:43 -0600"
_PEOPLE = [
    "ada@rosewood.test", "Ada Lovelace <ada@rosewood.test>", '"Lovelace, Ada" <ada@rosewood.test>',
    "=?utf-8?q?J=C3=BCrgen?= <juergen@fern.test>", "=?iso-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.test>",
    "bob@fern.test (Bob)", "friends: ada@rosewood.test, Bob <bob@fern.test>;", "undisclosed-recipients:;",
    "\"=?utf-8?q?quoted?=\" <q@x.test>", "<plain@x.test>", "a.b.c+tag@sub.x.test", '"odd local"@x.test',
    "Mary Smith <mary@[192.0.2.1]>", "J. R. R. Tolkien <jrr@shire.test>",
]  # fmt: skip


@dataclass
class Message:
    """Octets and what is special about them."""

    number: int
    octets: bytes
    traits: set[str] = field(default_factory=set)


def corpus(count: int = 640) -> Iterator[Message]:
    """Yield `count` messages; the same for the same count, whatever the machine."""
    for number in range(count):
        yield _Maker(number).make()


class _Maker:
    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self._number = number
        self._traits: set[str] = set()
        self._boundaries = 0

    def make(self) -> Message:
        depth = self._random.choice([0, 0, 1, 1, 1, 2, 2, 3])
        octets = self._fields() + self._entity(depth)
        if self._number % 4 == 3:
            octets = self._break(octets)
        elif self._random.random() < 0.12:
            octets = octets.replace(b"\r\n", b"\n")
            self._traits.add("lf")
        return Message(self._number, octets, self._traits)

    def _fields(self) -> bytes:
        pick = self._random
        recipients = ", ".join(pick.sample(_PEOPLE, pick.randint(1, 4)))
        if "(Bob)" in recipients:
            self._traits.add("comment-name")
        lines = [f"From: {pick.choice(_PEOPLE[:5])}", f"To: {recipients}"]
        subject = " ".join(pick.sample(_WORDS, pick.randint(0, 8)))
        if not subject.isascii():
            subject = Header(subject, pick.choice(["utf-8", "utf-8", "utf-7"]), header_name="Subject").encode()
        lines.append("Subject: " + subject.replace("\n", "\r\n"))
        lines.append(f"Date: {pick.choice(_DATES)}")
        lines += [_RECEIVED] * pick.randint(0, 4)
        if pick.random() < 0.9:
            lines.append("MIME-Version: 1.0")
        pick.shuffle(lines)
        return "\r\n".join(lines).encode() + b"\r\n"

    def _entity(self, depth: int) -> bytes:
        if depth <= 0:
            return self._leaf()
        kind = self._random.choice(_KINDS)
        if kind == "message":
            return b"Content-Type: message/rfc822\r\n\r\n" + self._fields() + self._entity(depth - 1)
        return self._multipart(kind, depth)

    def _multipart(self, kind: str, depth: int) -> bytes:
        pick = self._random
        self._boundaries += 1
        boundary = pick.choice(["=_%d_x", "----=_Part_%d", "b%d", "a b %d", "(odd)+%d'"]) % (
            self._number * 10 + self._boundaries
        )
        quoted = f'"{boundary}"' if not boundary.isalnum() or pick.random() < 0.5 else boundary
        head = f"Content-Type: multipart/{kind}; boundary={quoted}\r\n\r\n".encode()
        parts = []
        for _ in range(pick.randint(1, 4)):
            if kind == "digest":
                parts.append(b"\r\n" + self._fields() + self._leaf())
            else:
                parts.append(self._entity(depth - 1 - pick.randint(0, 1)))
        delimiter = f"--{boundary}".encode()
        preamble = pick.choice([b"", b"", b"This is a multi-part message in MIME format.\r\n", b"\r\n"])
        body = preamble + b"".join(
            delimiter + pick.choice([b"", b"", b" ", b"\t"]) + b"\r\n" + part + b"\r\n" for part in parts
        )
        return head + body + delimiter + b"--" + pick.choice([b"\r\n", b"", b"\r\nepilogue\r\n"])

    def _leaf(self) -> bytes:
        return self._text() if self._random.random() < 0.65 else self._binary()

    def _text(self) -> bytes:
        pick = self._random
        charset = pick.choice(list(_TEXTS))
        octets = pick.choice(_TEXTS[charset]).encode(charset)
        encoding = pick.choice(["7bit", "8bit", "quoted-printable", "base64"])
        if charset == "utf-16":
            encoding = "base64"
        elif encoding == "7bit" and not octets.isascii():
            encoding = "8bit"
        kind = pick.choice(["plain", "plain", "html"])
        written = pick.choice([charset, charset.upper(), f'"{charset}"'])
        fields = [f"Content-Type: text/{kind}; charset={written}"]
        if pick.random() < 0.1 and charset == "us-ascii":
            fields = []
        if encoding != "7bit":
            fields.append(f"Content-Transfer-Encoding: {pick.choice([encoding, encoding.title()])}")
        return "\r\n".join([*fields, "", ""]).encode() + self._encoded(octets, encoding)

    def _binary(self) -> bytes:
        pick = self._random
        octets = pick.randbytes(pick.choice([0, 1, 2, 56, 57, 58, 500]))
        kind = pick.choice(["application/octet-stream", "image/png", "application/pdf", "audio/basic", "video/mpeg"])
        fields = [f"Content-Type: {kind}", "Content-Transfer-Encoding: base64"]
        if pick.random() < 0.7:
            name = pick.choice(_NAMES)
            fields.append(f"Content-Disposition: attachment;\r\n {self._name(name)}")
        pick.shuffle(fields)
        return "\r\n".join([*fields, "", ""]).encode() + self._encoded(octets, "base64")

    def _name(self, name: str) -> str:
        escaped = name.replace('"', '\\"')
        if name.isascii():
            if len(name) > 60 and self._random.random() < 0.5:
                return f'filename*0="{name[:50]}";\r\n filename*1="{name[50:]}"'
            return f'filename="{escaped}"'
        style = self._random.choice(["2231", "2231", "sections", "2047"])
        octets = name.encode()
        percent = "".join(f"%{octet:02X}" for octet in octets)
        if style == "2231":
            return f"filename*=utf-8''{percent}"
        if style == "sections":
            return f"filename*0*=UTF-8'en'{percent[:9]};\r\n filename*1*={percent[9:]}"
        self._traits.add("encoded-word-name")
        return f'filename="=?utf-8?B?{base64.b64encode(octets).decode()}?="'

    @staticmethod
    def _encoded(octets: bytes, encoding: str) -> bytes:
        if encoding == "base64":
            return base64.encodebytes(octets).replace(b"\n", b"\r\n")
        if encoding == "quoted-printable":
            return quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return octets

    def _break(self, octets: bytes) -> bytes:
        """Do one thing that mail should not have."""
        name, change = self._random.choice(list(_BREAKS.items()))
        changed = change(octets, self._random)
        if changed != octets:
            self._traits.add(name)
        return changed


def _once(old: bytes, new: bytes) -> Callable[[bytes, random.Random], bytes]:
    return lambda octets, _random: octets.replace(old, new, 1)


def _insert_header(line: bytes) -> Callable[[bytes, random.Random], bytes]:
    def change(octets: bytes, _random: random.Random) -> bytes:
        first = octets.find(b"\r\n") + 2
        while octets[first : first + 1] in (b" ", b"\t"):
            first = octets.find(b"\r\n", first) + 2
        return octets[:first] + line + octets[first:]

    return change


def _cut(octets: bytes, pick: random.Random) -> bytes:
    body = octets.find(b"\r\n\r\n") + 4
    return octets[: pick.randint(body, len(octets))]


_BREAKS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": _cut,
    "mbox-from": lambda octets, _: b"From ada Mon Nov 23 13:15:15 2026\r\n" + octets,
    "header-junk": _insert_header(b"this line is no field\r\n"),
    "space-before-colon": _insert_header(b"X-Space : value\r\n"),
    "empty-name": _insert_header(b": no name\r\n"),
    "raw-8bit": _insert_header(b"X-Raw: \xe9\xff\r\n"),
    "duplicate-content-type": _insert_header(b"Content-Type: text/plain; charset=us-ascii\r\n"),
    "bad-content-type": _once(b"Content-Type: text/plain", b"Content-Type: text"),
    "no-boundary": _once(b"boundary=", b"bound=ary="),
    "unknown-encoding": _once(b"Transfer-Encoding: base64", b"Transfer-Encoding: x-uuencode"),
    "unknown-charset": _once(b"charset=", b"charset=x-klingon-"),
    "base64-junk": _once(b"base64\r\n\r\n", b"base64\r\n\r\n!*"),
    "quoted-printable-junk": _once(b"rintable\r\n\r\n", b"rintable\r\n\r\n=zz= x =\t\r\n"),
    "bare-cr": _once(b"\r\n\r\n", b"\r\n\r\nbare\rcr"),
    "delimiter-lookalike": lambda octets, _: octets.replace(b"\r\n--", b"\r\n--xyz\r\n--", 2),
    "unquoted-boundary": lambda octets, _: octets.replace(b'boundary="', b"boundary=").replace(
        b'"\r\n\r\n', b"\r\n\r\n"
    ),
    "encoded-multipart": _once(b"Content-Type: multi", b"Content-Transfer-Encoding: base64\r\nContent-Type: multi"),
    "encoded-message": _once(
        b"Content-Type: mess", b"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: mess"
    ),
    "no-empty-line": _once(b"\r\n\r\n", b"\r\n"),
    "comment-in-type": _once(b"; boundary", b" (a comment); boundary"),
    "upper-case": lambda octets, _: octets.replace(b"Content-Type: multipart", b"CONTENT-TYPE: MULTIPART"),
    "duplicate-boundary": lambda octets, _: octets.replace(b"; boundary=", b"; boundary=other; boundary=", 1),
    "nul": _once(b"\r\n\r\n", b"\r\n\r\n\0"),
    "white-line-in-header": _insert_header(b"X-White: a\r\n \r\n b\r\n"),
    "missing-close": lambda octets, _: octets[: octets.rfind(b"--\r\n")] if b"--\r\n" in octets else octets,
}
