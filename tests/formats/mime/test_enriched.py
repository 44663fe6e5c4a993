"""text/enriched and HTML as plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.mime.enriched import render_enriched
from letterlock.formats.mime.html_text import html_to_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<bold>Now</bold> is the time for <italic>all</italic>\r\ngood men\r\n\r\n<<x>",
         "*Now* is the time for /all/ good men\n<x>"),
        ("<color><param>red</param>a</color>b", "ab"),
        ("a<nofill>\nb\nc</nofill>\nd", "a\nb\nc d"),
        ("a<excerpt>quoted\n\nmore</excerpt>b", "a\n> quoted\n> more\nb"),
        ("</bold>x</excerpt>", "x"),
        ("<unknown>x</unknown>", "x"),
        ("a < b", "a < b"),
    ],
)  # fmt: skip
def test_renders_enriched(text: str, plain: str) -> None:
    """RFC 1896."""
    assert render_enriched(text) == plain


@pytest.mark.parametrize(
    ("html", "plain"),
    [
        ("<p>a  b\n c<p>d", "a b c\n\nd\n"),
        ("<a href='http://evil.test/'>http://bank.test/</a>", "http://bank.test/ <http://evil.test/>\n"),
        ("<a href='http://x.test/'>http://x.test/</a> <a href='mailto:a@b.test'>a@b.test</a>", "http://x.test/ a@b.test\n"),
        ("a<script>alert(1)</script><style>x{}</style>b", "ab\n"),
        ("<ul><li>one<li>two</ul>", "- one\n- two\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ("a<br>b<br><br>c", "a\nb\n\nc\n"),
        ("<p hidden>secret</p>seen", "seen\n"),
        ("&lt;b&gt; &uuml;", "<b> ü\n"),
        ("<!-- x --><img src='http://track.test' alt='logo'>", "[logo]\n"),
        ("", ""),
        ("\x00", "\ufffd"),
    ],
)  # fmt: skip
def test_reads_html(html: str, plain: str) -> None:
    """Words in order, links that show where they lead."""
    assert html_to_text(html).strip("\n") == plain.strip("\n")


_MARKUP = ["<p>", "</p>", "<a href=x>", "</a>", "<pre>", "<b", "&#0;", "x", "<!--", "\0"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(_MARKUP)).map("".join))
def test_any_text_is_rendered(text: str) -> None:
    """Nothing raises."""
    render_enriched(text)
    html_to_text(text)


def test_deep_html_is_rendered() -> None:
    """Nesting without end neither fails nor recurses."""
    assert "core" in html_to_text("<div>" * 200 + "core")
    html_to_text("<div>" * 50_000 + "core")
