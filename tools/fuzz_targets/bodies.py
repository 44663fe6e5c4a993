"""Bodies: transfer encodings whole and in pieces, flowed and enriched text, HTML, canonical form."""

from letterlock.errors import Malformed
from letterlock.formats.mime.canonical import canonical, seven_bit
from letterlock.formats.mime.enriched import render_enriched
from letterlock.formats.mime.flowed import unflow
from letterlock.formats.mime.html_text import html_to_text
from letterlock.formats.mime.transfer import decode, decode_stream, encode_base64, encode_quoted_printable

SEEDS = (b"QUJD\r\nRA==\r\n", b"a=3D=\r\nb =\r\n", b"> a \r\n>> b\r\n-- \r\n", b"<bold>a</bold><p><a href=x>y</a>")


def fuzz(octets: bytes) -> None:
    """Decode in two ways alike, encode and decode back, render."""
    pieces = [octets[at : at + 7] for at in range(0, len(octets), 7)]
    for encoding in ("base64", "quoted-printable"):
        assert b"".join(decode_stream(pieces, encoding)) == decode(octets, encoding)
    assert decode(encode_base64(octets), "base64") == octets
    assert decode(encode_quoted_printable(octets), "quoted-printable") == octets
    text = octets.decode("utf-8", "replace")
    unflow(text)
    render_enriched(text)
    html_to_text(text)
    assert canonical(canonical(octets)) == canonical(octets)
    try:
        prepared = seven_bit(octets)
    except Malformed:
        return
    assert prepared.isascii()
    assert seven_bit(prepared) == prepared
