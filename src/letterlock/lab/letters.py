"""The letters that cross the lab: small, large, with attachments, in many scripts, and with the octets that trip programs.

Every letter is whole before it is submitted (Date and Message-ID too), so that what arrives can be compared octet for
octet with what was sent.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.mime.build import Binary, Text, compose
from letterlock.lab.plan import Organisation, Person, Plan

_PICTURE_WIDTH, _PICTURE_HEIGHT = 1000, 667  # of random pixels: 2 MB that do not compress


@dataclass(frozen=True, slots=True)
class Letter:
    """`octets` go from `author`, who submits at `home`, to the addresses in `recipients`."""

    title: str
    home: Organisation
    author: Person
    recipients: tuple[str, ...]
    octets: bytes

    @property
    def message_id(self) -> str:
        """The identifier in angle brackets, by which the letter is found again."""
        start = self.octets.index(b"Message-ID: ") + len(b"Message-ID: ")
        return self.octets[start : self.octets.index(b"\r\n", start)].decode()


@dataclass(frozen=True, slots=True)
class _Draft:
    """A letter before it is written out; `to` names home, person, and what stands behind the local part."""

    title: str
    home: Organisation
    author: Person
    to: list[tuple[Organisation, Person, str]]
    text: str
    html: str = ""
    attachments: tuple[Text | Binary, ...] = ()
    eight_bit: bool = False


def letters(plan: Plan, now: datetime, token: Callable[[], str]) -> list[Letter]:
    """Return the letters, from both organisations to both; `token` gives a fresh short name each time."""
    return [_written(draft, now, token) for draft in _drafts(plan)]


def _written(draft: _Draft, now: datetime, token: Callable[[], str]) -> Letter:
    octets = compose(
        author=Mailbox(draft.author.name, draft.author.local_part, draft.home.domain),
        to=[Mailbox(person.name, person.local_part, home.domain) for home, person, _ in draft.to],
        subject=draft.title,
        date=now,
        message_id=f"{token()}@{draft.home.domain}",
        text=draft.text,
        html=draft.html,
        attachments=draft.attachments,
        token=token(),
        eight_bit=draft.eight_bit,
    )
    recipients = tuple(f"{person.local_part}{detail}@{home.domain}" for home, person, detail in draft.to)
    return Letter(draft.title, draft.home, draft.author, recipients, octets)


def _drafts(plan: Plan) -> list[_Draft]:
    rosewood, harbor = plan.organisations
    (ada, bruno), (chiyo, dafydd) = rosewood.people, harbor.people
    return [
        _Draft("A first letter", rosewood, ada, [(harbor, chiyo, "")], "Dear Chiyo,\n\nit works.\n\nAda\n"),
        _Draft(
            "Grüße — 挨拶 — Χαιρετισμούς",
            harbor,
            chiyo,
            [(rosewood, ada, "")],
            "拝啓 エイダ様、\n\nお元気ですか。\n",
            html="<p>拝啓 <b>エイダ</b>様、</p><p>お元気ですか。</p>",
        ),
        _Draft(
            "Plans and figures",
            rosewood,
            bruno,
            [(harbor, dafydd, "")],
            "The figures are attached.\n",
            attachments=(
                Text("Öre,Maß\n1,2\n", "csv", filename="Übersicht – größer.csv", disposition="attachment"),
                Binary(bytes(range(256)) * 40, "application/octet-stream", "every octet.bin"),
            ),
        ),
        _Draft(
            "A picture of the harbour",
            harbor,
            dafydd,
            [(rosewood, bruno, "")],
            "Two megabytes of fog.\n",
            attachments=(Binary(_picture(), "image/png", "fog.png"),),
        ),
        _Draft("Åtta bitar", rosewood, ada, [(harbor, dafydd, "")], "Räksmörgås à la carte\n" * 3, eight_bit=True),
        _Draft(
            "Dots and blanks",
            harbor,
            chiyo,
            [(rosewood, bruno, "")],
            ".\n..\n.leading\nFrom here on\ntrailing blank \n\n.\nQUIT\n\n\n",
        ),
        _Draft("Next door", rosewood, ada, [(rosewood, bruno, "")], "See you at lunch.\n"),
        _Draft(
            "To all of you",
            harbor,
            dafydd,
            [(rosewood, ada, "+lists"), (rosewood, bruno, ""), (harbor, chiyo, "")],
            "One letter, three boxes, two domains.\n",
        ),
    ]


def _picture() -> bytes:
    """Return a PNG of fog: every pixel random, the same each time."""
    pixels = hashlib.shake_256(b"fog").digest(_PICTURE_WIDTH * _PICTURE_HEIGHT * 3)
    row = _PICTURE_WIDTH * 3
    rows = b"".join(b"\x00" + pixels[start : start + row] for start in range(0, len(pixels), row))
    header = struct.pack(">IIBBBBB", _PICTURE_WIDTH, _PICTURE_HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
