"""Messages parted and prepared for signing."""

from __future__ import annotations

import pytest

from letterlock.formats.mime.canonical import has_canonical_lines
from letterlock.trust.smime.entities import mentions, prepare, split, split_prepared

HEAD = b"Content-Type: text/plain\r\n\r\n"
STRETCH = 1 << 16


@pytest.mark.parametrize(
    "trouble",
    [
        b"end \r\n",
        b"end\t\r\n",
        b"\r\nFrom here\r\n",
        b"x" * 999 + b"\r\n",
        b"x" * 999,
        b"\xc3\xbc",
        b"\n",
        b"\r",
        b"\0",
    ],
)
@pytest.mark.parametrize("before", [0, 1, STRETCH - 34, STRETCH - 31, STRETCH - 29, STRETCH, 3 * STRETCH])
def test_what_transports_touch_is_found(trouble: bytes, before: int) -> None:
    """Wherever it stands, at the seams of what is looked at in one go too; the rest stays octet for octet."""
    filling = (b"a line of text\r\n" * (before // 16 + 1))[: before // 16 * 16] + b"y" * (before % 16)
    longest = b"\r\n" + b"x" * 998
    for safe in (HEAD + filling + b"the end\r\n", HEAD + filling + longest, HEAD + filling + longest + b"\r\n"):
        assert prepare(safe) is safe
    for end in (b"the end\r\n", b""):
        prepared = prepare(HEAD + filling + trouble + end)
        assert prepared != HEAD + filling + trouble + end
        assert prepared.isascii()
        assert has_canonical_lines(prepared)


def test_binary_text_gets_lines() -> None:
    """A binary part whose octets look like text with bare line feeds is put into base64, so that they survive."""
    message = (
        b"MIME-Version: 1.0\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\nP1\n2 2\n1 0 0 1\n"
    )
    assert b"Content-Transfer-Encoding: base64" in split_prepared(message).inner


def test_a_boundary_is_looked_for_everywhere() -> None:
    """In the fields as in the body, though the body is only a view of the message."""
    parts = split(b"Subject: s\r\nContent-Type: text/plain; name=one\r\n\r\ntwo\r\n")
    assert (parts.outer, parts.inner) == (b"Subject: s\r\n", b"Content-Type: text/plain; name=one\r\n\r\ntwo\r\n")
    assert [mentions(parts.pieces, each) for each in (b"one", b"two", b"three")] == [True, True, False]
