"""Structured header values: addresses, dates, identifiers, trace, parameters, encoded words."""

from letterlock.formats.imf.addresses import parse_addresses, write_addresses
from letterlock.formats.imf.dates import parse_date, write_date
from letterlock.formats.imf.encoded_words import decode, encode
from letterlock.formats.imf.message_ids import parse_message_ids
from letterlock.formats.imf.trace import parse_received
from letterlock.formats.mime.content_type import parse_content_type, parse_disposition

SEEDS = (
    b"A Group(Some people):Chris Jones <c@(Chris's host.)public.example>,joe@example.org; (the end)",
    b"Mary Smith <@node.test:mary@example.net>, , =?utf-8?q?x,y?= <a@b>",
    b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
    b"a/b; x*0*=utf-8''%C3; x*1*=%BC; y=\"=?utf-8?b?QQ==?=\"; z",
    b"from x.y.test (a [192.0.2.1]) by example.net via TCP with ESMTP id A for <m@x>; 21 Nov 97 10:05:43 GMT",
)


def fuzz(octets: bytes) -> None:
    """Read as each of them; what is written is read back alike."""
    text = octets.decode("utf-8", "replace")
    read = parse_addresses(text)
    write_addresses(read.items)
    moment = parse_date(text)
    if moment is not None:
        assert parse_date(write_date(moment)) == moment
    decode(text, [])
    assert decode(encode(text)) == text
    parse_message_ids(text)
    parse_received(text)
    parse_content_type(text)
    parse_disposition(text)
