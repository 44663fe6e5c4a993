"""Messages: structure, header sections, large attachments, hostile shapes, beside Python's email package.

Rows are medians of alternating runs in one process; `email` is measured with `policy.default`, as new code uses it.
"""

from __future__ import annotations

import base64
import email
import email.policy
import random
import statistics
import time
from collections.abc import Callable

from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import read_header
from letterlock.formats.limits import Limits
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.view import view

_WIDE = Limits(nesting=100_000, parts=100_000)
_TEXT = b"The quick brown fox jumps over the lazy dog and on and on it goes all day long.\r\n"


def header_section() -> bytes:
    """Return a header section as a message has it after a few hops: 25 fields, 3.3 KB."""
    received = (
        b"Received: from mx%d.example.org (mx%d.example.org [192.0.2.1])\r\n\tby mail.example.net (Postfix) with ESMTPS id "
        b"ABCDEF%d\r\n\tfor <bob@example.net>; Mon, 23 Nov 2026 13:15:15 +0000 (UTC)\r\n"
    )
    octets = b"".join(received % (hop, hop, hop) for hop in range(12))
    octets += b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.test; s=sel;\r\n"
    octets += b"\th=from:to:subject:date:message-id; bh=abcdefghijklmnopqrstuvwxyz;\r\n" * 6
    return octets + (
        b"From: Ada Lovelace <ada@example.org>\r\nTo: Bob <bob@example.net>, carol@example.net\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and some ordinary words\r\nDate: Mon, 23 Nov 2026 13:15:15 +0000\r\n"
        b"Message-ID: <20261123131515.4711@example.org>\r\nList-Id: <gardens.example.org>\r\n"
        b"List-Unsubscribe: <https://example.org/unsubscribe>\r\nX-Mailer: some ordinary value of the field\r\n"
        b"X-Foo: some ordinary value of the field which is here\r\nX-Bar: some ordinary value of the field\r\n"
    )


def alternative_message() -> bytes:
    """Return a message of 12 KB: the header section above, plain text and HTML."""
    part = b"--=_1\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%b\r\n"
    return (
        header_section()
        + b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="=_1"\r\n\r\n'
        + part % (b"plain", _TEXT * 36)
        + part % (b"html", _TEXT * 72)
        + b"--=_1--\r\n"
    )


def attachment_message() -> bytes:
    """Return a message of 1 MB with two attachments in base64."""
    encoded = base64.encodebytes(random.Random(1).randbytes(378_000)).replace(b"\n", b"\r\n")
    part = b"--=_abcdefghijkl\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n"
    head = header_section() + b'Content-Type: multipart/mixed; boundary="=_abcdefghijkl"\r\n\r\n'
    return head + part % encoded * 2 + b"--=_abcdefghijkl--\r\n"


def _nested(levels: int) -> bytes:
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels))
    return opening + b"\r\ncore" + b"".join(b"\r\n--b%d--" % n for n in reversed(range(levels)))


def _seconds(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def _pair(
    what: str, ours: Callable[[], object], peer: Callable[[], object], times: int, peer_times: int, rounds: int = 7
) -> None:
    """Measure both in turns and print one row in microseconds."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        mine.append(_seconds(ours, times))
        theirs.append(_seconds(peer, peer_times))
    one, other = statistics.median(mine), statistics.median(theirs)
    print(f"{what:44} | {one * 1e6:10.1f} us | {other * 1e6:12.1f} us | {other / one:7.1f}x")


def _parse_with_email(octets: bytes) -> Callable[[], object]:
    return lambda: email.message_from_bytes(octets, policy=email.policy.default)


def _peer_or_failure(call: Callable[[], object]) -> str:
    """Run the peer once on a hostile shape and say how long it took, or how it failed."""
    began = time.perf_counter()
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}"
    return f"{(time.perf_counter() - began) * 1e3:.0f} ms"


def _row(what: str, call: Callable[[], object], peer: str) -> None:
    ours = statistics.median(_seconds(call, 1) for _ in range(5))
    print(f"{what:44} | {ours * 1e3:10.1f} ms | {peer:>15} |")


def main() -> None:
    """Print the rows."""
    print(f"{'what':44} | {'ours':>13} | {'email':>15} | ratio")
    header, twelve, large = header_section() + b"\r\n", alternative_message(), attachment_message()
    _pair(f"header section, {len(header)} octets", lambda: read_header(header), _parse_with_email(header), 300, 10)

    def looked_up() -> object:
        read = read_header(header)
        return read.text("subject"), read.text("from"), read.text("date")

    def looked_up_with_email() -> object:
        message = email.message_from_bytes(header, policy=email.policy.default)
        return message["subject"], message["from"], message["date"]

    _pair("header section and three fields", looked_up, looked_up_with_email, 300, 10)
    _pair(f"structure, {len(twelve)} octets", lambda: parse(twelve), _parse_with_email(twelve), 200, 10)

    def with_texts() -> object:
        return [entity.text() for entity in parse(twelve).entities() if not entity.children]

    def with_texts_by_email() -> object:
        message = email.message_from_bytes(twelve, policy=email.policy.default)
        return [part.get_content() for part in message.walk() if not part.is_multipart()]

    _pair("structure and decoded texts", with_texts, with_texts_by_email, 100, 5)
    _pair("safe view with every defect", lambda: view(twelve), with_texts_by_email, 50, 5)
    _pair(f"structure, {len(large)} octets", lambda: parse(large), _parse_with_email(large), 50, 1, rounds=5)
    scanned = statistics.median(_seconds(lambda: parse(large), 50) for _ in range(7))
    print(f"{'':44} | {len(large) / scanned / 1e9:8.2f} GB/s |")
    _hostile()


def _addresses(octets: bytes) -> Callable[[], object]:
    return lambda: parse_addresses(read_header(octets).text("to")).mailboxes


def _addresses_with_email(octets: bytes) -> Callable[[], object]:
    return lambda: email.message_from_bytes(octets, policy=email.policy.default)["to"].addresses


def _hostile() -> None:
    for count in (500, 10_000):
        people = ", ".join(f"Person {n} (x) <person{n}@example.org>" for n in range(count))
        to = f"To: {people}\r\n\r\n".encode()
        peer = _peer_or_failure(_addresses_with_email(to)) if count == 500 else ""
        _row(f"To: of {len(to) // 1000} kB, {count} addresses", _addresses(to), peer)
    parts = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\na\r\n" * 20_000 + b"--x--\r\n"
    _row("20,000 parts", lambda: parse(parts, limits=_WIDE), _peer_or_failure(_parse_with_email(parts)))
    deep = _nested(2_000)
    _row("2,000 nested parts", lambda: parse(deep, limits=_WIDE), _peer_or_failure(_parse_with_email(deep)))
    _row("4,000 nested parts", lambda: parse(_nested(4_000), limits=_WIDE), "")


if __name__ == "__main__":
    main()
