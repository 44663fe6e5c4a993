"""Authentication-Results, read and written."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.authentication_results import (
    AuthenticationResults,
    MethodResult,
    Property,
    authserv_id_of,
    parse,
    write,
)


def test_a_field_of_the_standard() -> None:
    """RFC 8601 appendix B.6: comments, versions and white space everywhere."""
    parsed = parse(
        b" foo.example.net (foobar) 1 (baz);\r\n\tdkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
        b"\tpolicy (A dot can go here) . (like that) expired\r\n\t(this surprised me) = (as I wasn't expecting it) 1362471462"
    )
    assert (parsed.authserv_id, parsed.version, parsed.comments) == ("foo.example.net", "1", ("foobar", "baz"))
    (result,) = parsed.results
    assert (result.method, result.method_version, result.result) == ("dkim", "1", "fail")
    assert result.properties == (Property("policy", "expired", "1362471462"),)
    assert "wait for it" in result.comments


@pytest.mark.parametrize("value", [b"example.org 1; none", b"example.org;none", b"example.org"])
def test_nothing_found(value: bytes) -> None:
    """No result, in its forms."""
    assert parse(value).results == ()


@pytest.mark.parametrize(
    ("value", "authserv_id"),
    [
        (b"MX.Rosewood.Test; spf=pass", "mx.rosewood.test"),
        (b'"mx.rosewood.test" ; spf=pass', "mx.rosewood.test"),
        (b"(x) mx.rosewood.test(y);spf=pass", "mx.rosewood.test"),
        (b"\r\n mx.rosewood.test\r\n ;", "mx.rosewood.test"),
        (b"mx.rosewood.test garbage !! ; =", "mx.rosewood.test"),
        (b"", ""),
    ],
)
def test_whoever_claims_a_name_is_found(value: bytes, authserv_id: str) -> None:
    """The border reads the claimed name however it is dressed, and of fields that cannot be parsed."""
    assert authserv_id_of(value) == authserv_id


@pytest.mark.parametrize(
    "value", [b"", b"; spf=pass", b"a b c; spf=pass", b"a; spf", b"a; spf=", b"a; =pass", b"a; x=y z=1"]
)
def test_what_is_not_the_grammar(value: bytes) -> None:
    """Malformed, not misread."""
    with pytest.raises(Malformed):
        parse(value)


def test_written_fields_cannot_be_broken_out_of() -> None:
    """Values of strangers cannot end the line, the comment or the property."""
    written = write(
        AuthenticationResults(
            "mx.test",
            (
                MethodResult(
                    "spf", "fail", (Property("smtp", "mailfrom", 'a";\r\nX: y@b'),), 'no "way"\r\nX: z', ("x) y\r\n(z",)
                ),
            ),
        )
    )
    assert written.count(b"\r\n") == written.count(b"\r\n  ") + 1
    (result,) = parse(written.partition(b":")[2]).results
    assert result.reason == 'no "way"  X: z'
    assert result.properties[0].value == 'a";  X: y@b'


@pytest.mark.parametrize("text", ["x" * 5000, '"' * 5000, "(" * 5000, "ü" * 5000, "\U0001f339" * 5000])
def test_lines_stay_within_what_transport_bears(text: str) -> None:
    """RFC 5322 section 2.1.1: however long and odd a reason, a comment or a value is."""
    result = MethodResult("spf", "fail", (Property("smtp", "mailfrom", text),), text, (text,))
    written = write(AuthenticationResults("mx.test", (result,)))
    assert max(map(len, written.split(b"\r\n"))) <= 998
    assert parse(written.partition(b":")[2]).results[0].result == "fail"


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=40)


@given(_TEXT, _TEXT, st.lists(_TEXT, max_size=2))
def test_round_trip(value: str, reason: str, comments: list[str]) -> None:
    """What is written is read back: values, reasons, comments."""
    result = MethodResult("dkim", "pass", (Property("header", "d", value),), reason, tuple(comments))
    (back,) = parse(write(AuthenticationResults("mx.test", (result,))).partition(b":")[2]).results
    assert (back.properties[0].value, back.reason) == (value, reason)
    assert [" ".join(comment.split()) for comment in back.comments] == [" ".join(one.split()) for one in comments]


@given(st.binary(max_size=300))
def test_any_octets(value: bytes) -> None:
    """Random octets raise only Malformed."""
    authserv_id_of(value)
    with contextlib.suppress(Malformed):
        parse(value)
