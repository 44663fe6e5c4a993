"""What each command answers, over a real store: logging in, mailboxes, messages, and refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from letterlock.access.imap.sort import base_subject
from letterlock.protocols.sasl.mechanism import client_exchange

Letter = Callable[..., bytes]

MIME = (
    b"From: =?utf-8?q?J=C3=B6rg?= <j@x.test>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nDate: Sun, 1 Nov 2026 23:30:00 -0800\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Sch=F6ne Gr=FC=DFe\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner body\r\n"
    b"--b--\r\n"
)


async def test_login_is_refused_before_tls(tls_served: Any) -> None:
    client = await tls_served.connect()
    (line,) = await client.ok("CAPABILITY")
    assert b"STARTTLS" in line
    assert b"LOGINDISABLED" in line
    assert b"AUTH=" not in line
    assert (await client('LOGIN anna "correct horse"'))[-1].startswith(b"NO [PRIVACYREQUIRED]")
    for mechanism in ("PLAIN AGFubmEAeA==", "SCRAM-SHA-256"):
        assert (await client(f"AUTHENTICATE {mechanism}"))[-1].startswith(b"NO [PRIVACYREQUIRED]")


async def test_starttls_then_scram_plus(tls_served: Any) -> None:
    """The channel binding of the TLS connection takes part in the proof."""
    client = await tls_served.connect()
    client.write(b"a STARTTLS\r\nb LOGIN anna x\r\n")
    assert (await client.until(b"a"))[-1].startswith(b"OK")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await client._writer.start_tls(context)
    (line,) = await client.ok("CAPABILITY")
    assert b"STARTTLS" not in line
    assert b"AUTH=SCRAM-SHA-256-PLUS" in line
    certificate = client._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    bindings = {"tls-server-end-point": (hashlib.sha256(certificate).digest(),)}
    exchange = client_exchange(
        ["SCRAM-SHA-256-PLUS"],
        user="anna",
        password="correct horse",
        nonce=b"n" * 18,
        bindings=bindings,
        protected=True,
    )
    client.write(b"c AUTHENTICATE SCRAM-SHA-256-PLUS " + base64.b64encode(exchange.first() or b"") + b"\r\n")
    for _ in range(2):
        challenge = base64.b64decode((await client.line()).removeprefix(b"+ "))
        client.write(base64.b64encode(exchange.respond(challenge)) + b"\r\n")
    exchange.finish()
    assert (await client.until(b"c"))[-1].startswith(b"OK [CAPABILITY")
    await client.ok("SELECT INBOX")


async def test_authenticate_with_and_without_initial_response(served: Any) -> None:
    response = base64.b64encode(b"\0anna\0correct horse")
    client = await served.connect()
    assert (await client(b"AUTHENTICATE PLAIN " + response))[-1].startswith(b"OK")
    client = await served.connect()
    client.write(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.write(response + b"\r\n")
    assert (await client.until(b"a"))[-1].startswith(b"OK")
    client = await served.connect()
    client.write(b"a AUTHENTICATE PLAIN\r\n*\r\n")
    assert (await client.until(b"a"))[-1].startswith(b"BAD")
    client.write(b"b AUTHENTICATE PLAIN !!!\r\n")
    assert (await client.until(b"b"))[-1].startswith(b"BAD")


async def test_wrong_passwords_end_the_connection_in_the_end(served: Any) -> None:
    client = await served.connect()
    for user in ("anna", "nobody", "anna", "nobody"):
        assert (await client(f"LOGIN {user} x"))[-1] == b"NO [AUTHENTICATIONFAILED] wrong user or password"
    assert (await client("LOGIN anna x"))[-1].startswith(b"NO")
    assert (await client.line()).startswith(b"* BYE")


async def test_a_network_that_guesses_has_to_wait(served: Any) -> None:
    for _ in range(3):
        client = await served.connect()
        for _ in range(2):
            assert (await client("LOGIN anna x"))[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
    client = await served.connect()
    assert (await client('LOGIN anna "correct horse"'))[-1].startswith(b"NO [LIMIT] too many failures")


async def test_a_name_that_is_guessed_at_is_shut_for_strangers(served: Any) -> None:
    """From many networks; unknown names answer the same, and whoever used it from here before may still come in."""
    for user in ("anna", "nobody"):
        for number in range(21):
            await served.guard.failed(f"203.0.{number}.1", user)
    client = await served.connect()
    for user in ("anna", "nobody"):
        assert (await client(f'LOGIN {user} "correct horse"'))[-1].startswith(
            b"NO [LIMIT] too many failures for that user"
        )
    assert (await client('LOGIN anna@rosewood.test "correct horse"'))[-1].startswith(b"OK")
    served.guard.succeeded("127.0.0.1", "anna")
    client = await served.connect()
    assert (await client('LOGIN anna "correct horse"'))[-1].startswith(b"OK")


async def test_mailboxes_are_made_listed_renamed_and_removed(served: Any) -> None:
    client = await served.login("CREATE Work/2026/&AOk-", "CREATE Spam (USE (\\Junk))", "SUBSCRIBE Gone")
    lines = await client.ok('LIST "" *')
    assert lines == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        b'* LIST (\\HasNoChildren \\Sent) "/" Sent',
        b'* LIST (\\HasNoChildren \\Junk) "/" Spam',
        b'* LIST (\\HasNoChildren \\Trash) "/" Trash',
        b'* LIST (\\HasChildren) "/" Work',
        b'* LIST (\\HasChildren) "/" Work/2026',
        b'* LIST (\\HasNoChildren) "/" Work/2026/&AOk-',
    ]
    assert await client.ok('LIST "Work/" %') == [b'* LIST (\\HasChildren) "/" Work/2026']
    assert await client.ok('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""']
    assert await client.ok('LIST (SPECIAL-USE) "" * RETURN (SUBSCRIBED)') == [
        b'* LIST (\\HasNoChildren \\Subscribed \\Drafts) "/" Drafts',
        b'* LIST (\\HasNoChildren \\Subscribed \\Sent) "/" Sent',
        b'* LIST (\\HasNoChildren \\Junk) "/" Spam',
        b'* LIST (\\HasNoChildren \\Subscribed \\Trash) "/" Trash',
    ]
    assert (await client.ok('LSUB "" G*')) == [b'* LSUB () "/" Gone']
    assert (await client.ok('LIST (SUBSCRIBED) "" G*')) == [
        b'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" Gone'
    ]
    await client.ok("RENAME Work Play")
    assert [line.rsplit(b" ", 1)[1] for line in await client.ok('LIST "" Play*')] == [
        b"Play",
        b"Play/2026",
        b"Play/2026/&AOk-",
    ]
    await client.ok("DELETE Play/2026")
    assert await client.ok('LIST "" Play/%') == [b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" Play/2026']
    assert (await client("DELETE INBOX"))[-1].startswith(b"NO [CANNOT]")
    assert (await client("DELETE Nowhere"))[-1].startswith(b"NO [NONEXISTENT]")
    assert (await client("CREATE Sent"))[-1].startswith(b"NO [ALREADYEXISTS]")
    assert (await client("CREATE x (USE (\\Odd))"))[-1].startswith(b"NO [USEATTR]")
    assert await client.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL']


async def test_recursive_match_shows_what_is_below(served: Any) -> None:
    """RFC 9051 section 6.3.9.8, examples 8 and 9."""
    client = await served.login("CREATE Foo/Bar", "SUBSCRIBE Foo/Bar")
    assert await client.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" F%') == [
        b'* LIST (\\HasChildren) "/" Foo ("CHILDINFO" ("SUBSCRIBED"))'
    ]
    assert await client.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" Foo*') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" Foo/Bar'
    ]


async def test_list_with_status(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    client = await served.login()
    lines = await client.ok('LIST "" INBOX RETURN (STATUS (MESSAGES UNSEEN UIDNEXT DELETED SIZE))')
    assert lines[1] == b"* STATUS INBOX (MESSAGES 1 UNSEEN 1 UIDNEXT 2 DELETED 0 SIZE %d)" % len(letter(1))


async def test_select_in_both_revisions(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    client = await served.login()
    lines = await client("SELECT INBOX")
    assert b"* 1 EXISTS" in lines
    assert b"* 0 RECENT" in lines
    assert any(line.startswith(b"* OK [UNSEEN 1]") for line in lines)
    assert lines[-1].startswith(b"OK [READ-WRITE]")
    assert await client.ok("ENABLE IMAP4rev2 X-NONE") == [b"* ENABLED IMAP4rev2"]
    lines = await client("EXAMINE INBOX")
    assert b"* 0 RECENT" not in lines
    assert b'* LIST () "/" INBOX' in lines
    assert lines[-1].startswith(b"OK [READ-ONLY]")
    assert await client.ok("SEARCH ALL") == [b'* ESEARCH (TAG "t5") ALL 1']
    assert (await client("STORE 1 +FLAGS \\Seen"))[-1].startswith(b"NO [READ-ONLY]")
    assert (await client("EXPUNGE"))[-1].startswith(b"NO [READ-ONLY]")
    assert await client.ok("FETCH 1 (BODY[]<0.4> FLAGS)") == [b"* 1 FETCH (BODY[]<0> {4}\r\nFrom FLAGS ())"]
    await client.ok('CREATE "été"')
    assert await client.ok('LIST "" "é*"') == ['* LIST (\\HasNoChildren) "/" "été"'.encode()]


async def test_append_tells_where_and_keeps_every_octet(served: Any) -> None:
    client = await served.login("SELECT Drafts")
    message = bytes(range(1, 256)) * 40
    *lines, answer = await client(
        b'APPEND Drafts (\\Draft $MDNSent) "17-Jul-1996 02:44:25 -0700" {%d+}\r\n%b' % (len(message), message)
    )
    assert b"* 1 EXISTS" in lines
    assert answer.startswith(b"OK [APPENDUID ")
    (line,) = await client.ok("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[] RFC822.SIZE)")
    assert line == (
        b'* 1 FETCH (FLAGS (\\Draft $MDNSent) INTERNALDATE "17-Jul-1996 09:44:25 +0000" BODY[] {%d}\r\n%b'
        b" RFC822.SIZE %d)" % (len(message), message, len(message))
    )
    assert (await client(b"APPEND Nowhere {1+}\r\nx"))[-1].startswith(b"NO [TRYCREATE]")
    assert (await client(b"APPEND Drafts {0+}\r\n"))[-1].startswith(b"NO")
    assert (await client(b"APPEND Drafts (\\Odd) {1+}\r\nx"))[-1].startswith(b"BAD")


async def test_a_large_message_comes_whole_and_in_parts(served: Any) -> None:
    message = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 150_000
    await served.deliver(message)
    client = await served.login("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 (UID BODY.PEEK[] FLAGS)")
    assert line == b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%b FLAGS ())" % (len(message), message)
    (line,) = await client.ok("FETCH 1 (BODY.PEEK[]<2000000.3>)")
    assert line == b"* 1 FETCH (BODY[]<2000000> {3}\r\n%b)" % message[2000000:2000003]
    (line,) = await client.ok("FETCH 1 (BODY.PEEK[]<9000000.3>)")
    assert line == b"* 1 FETCH (BODY[]<9000000> {0}\r\n)"


@pytest.mark.parametrize(
    ("item", "answered", "value"),
    [
        (b"BODY.PEEK[1]", b"BODY[1]", b"Sch=F6ne Gr=FC=DFe"),
        (b"BODY.PEEK[1.MIME]", b"BODY[1.MIME]", MIME[MIME.index(b"Content-Type: text") : MIME.index(b"Sch=F6ne")]),
        (b"BODY.PEEK[2]", b"BODY[2]", b"AAECAwQ="),
        (b"BINARY.PEEK[2]", b"BINARY[2]", b"\0\1\2\3\4"),
        (b"BINARY.PEEK[1]", b"BINARY[1]", b"Sch\xf6ne Gr\xfc\xdfe"),
        (b"BODY.PEEK[3.HEADER]", b"BODY[3.HEADER]", b"Subject: inner\r\n\r\n"),
        (b"BODY.PEEK[3.TEXT]", b"BODY[3.TEXT]", b"inner body"),
        (b"BODY.PEEK[3.1]", b"BODY[3.1]", b"inner body"),
        (b"BODY.PEEK[4]", b"BODY[4]", None),
        (b"BODY.PEEK[1.HEADER]", b"BODY[1.HEADER]", None),
        (b"BODY.PEEK[1]<5.3>", b"BODY[1]<5>", b"6ne"),
        (
            b"BODY.PEEK[HEADER.FIELDS (subject x-none)]",
            b"BODY[HEADER.FIELDS (subject x-none)]",
            b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n\r\n",
        ),
        (
            b"BODY.PEEK[HEADER.FIELDS (FROM Subject)]<3.9>",
            b"BODY[HEADER.FIELDS (FROM Subject)]<3>",
            b"m: =?utf-",
        ),
        (
            b"BODY.PEEK[HEADER.FIELDS.NOT (from date content-type)]",
            b"BODY[HEADER.FIELDS.NOT (from date content-type)]",
            b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n\r\n",
        ),
        (b"BODY.PEEK[TEXT]", b"BODY[TEXT]", MIME[MIME.index(b"preamble") :]),
        (b"BODY.PEEK[HEADER]", b"BODY[HEADER]", MIME[: MIME.index(b"preamble")]),
    ],
)
async def test_sections(served: Any, item: bytes, answered: bytes, value: bytes | None) -> None:
    await served.deliver(MIME)
    client = await served.login("SELECT INBOX")
    (line,) = await client.ok(b"FETCH 1 (" + item + b")")
    shown = b"NIL"
    if value is not None:
        shown = (b"~" if b"\0" in value else b"") + b"{%d}\r\n%b" % (len(value), value)
    assert line == b"* 1 FETCH (" + answered + b" " + shown + b")"


async def test_a_large_part_is_fetched_range_by_range(served: Any) -> None:
    """From the second range on, only the range is read."""
    part = b"0123456789abcdef\r\n" * 100_000
    await served.deliver(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n\r\n" + part + b"\r\n--b--\r\n"
    )
    client = await served.login("SELECT INBOX")
    octets = b""
    while True:
        (line,) = await client.ok(b"FETCH 1 (UID BODY.PEEK[2]<%d.700000>)" % len(octets))
        head, _, rest = line.partition(b"\r\n")
        count = int(head.rpartition(b"{")[2].rstrip(b"}"))
        assert head.startswith(b"* 1 FETCH (UID 1 BODY[2]<%d> " % len(octets))
        octets += rest[:count]
        if not count:
            break
    assert octets == part


async def test_decoded_sizes(served: Any) -> None:
    await served.deliver(MIME)
    client = await served.login("SELECT INBOX")
    assert await client.ok("FETCH 1 (BINARY.SIZE[2] BINARY.SIZE[1])") == [
        b"* 1 FETCH (BINARY.SIZE[2] 5 BINARY.SIZE[1] 12)"
    ]


async def test_fetching_a_body_marks_it_seen_and_says_so(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2))
    client = await served.login("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 (RFC822)")
    assert line.endswith(b" FLAGS (\\Seen))")
    assert await client.ok("FETCH 1 (BODY.PEEK[TEXT])") == [b"* 1 FETCH (BODY[TEXT] {7}\r\nHello\r\n)"]
    assert await client.ok("SEARCH UNSEEN") == [b"* SEARCH 2"]


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ("ALL", "1 2 3"),
        ("NOT 2", "1 3"),
        ("OR UID 1 3", "1 3"),
        ("SUBJECT gr\u00fcsse", "3"),
        ("FROM J\u00d6RG", "3"),
        ("BODY \u201eSch\u00f6ne\u201d", ""),
        ("BODY sch\u00f6ne", "3"),
        ("TEXT letter", "1 2"),
        ("BODY letter", ""),
        ("BODY inner", "3"),
        ("TEXT application/octet-stream", "3"),
        ("HEADER Content-Type boundary", "3"),
        ("HEADER X-Odd \"\"", ""),
        ("HEADER Message-ID 2@", "2"),
        ("HEADER Bcc \"\"", ""),
        ("SENTON 1-Nov-2026", "3"),
        ("SENTSINCE 2-Nov-2026", "1 2"),
        ("SENTBEFORE 2-Nov-2026", "3"),
        ("ON 14-Nov-2023", "1 2 3"),
        ("BEFORE 14-Nov-2023", ""),
        ("SINCE 15-Nov-2023", ""),
        ("LARGER 400 FLAGGED", ""),
        ("LARGER 400", "3"),
        ("SMALLER 400 UNSEEN", "1 2"),
        ("KEYWORD $x", ""),
        ("UNKEYWORD $x NEW", ""),
        ("OLD (2:* UNDELETED)", "2 3"),
        ("UID 3:*", "3"),
        ("UID 77", ""),
    ],
)  # fmt: skip
async def test_search(served: Any, letter: Letter, criteria: str, found: str) -> None:
    await served.deliver(letter(1), letter(2), MIME)
    client = await served.login("SELECT INBOX")
    octets = criteria.encode()
    for word in octets.split(b" "):
        if not word.isascii():
            octets = octets.replace(word, b"{%d+}\r\n%b" % (len(word), word))
    (line,) = await client.ok(b"SEARCH CHARSET UTF-8 " + octets)
    assert line == f"* SEARCH {found}".strip().encode()


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Re: [list] Re[2]: Fwd: Harbour  news (fwd) ", "Harbour news"),
        ("[Fwd: Re: inner]", "inner"),
        ("[only a blob]", "[only a blob]"),
        ("RE : x", "x"),
        ("Refrain", "Refrain"),
        ("=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", "Gr\u00fc\u00dfe"),
        ("Re: " * 200, ""),
        ("", ""),
    ],
)
def test_base_subjects(subject: str, base: str) -> None:
    """RFC 5256 section 2.1."""
    assert base_subject(subject) == base


async def test_sort(served: Any) -> None:
    """RFC 5256 section 3: several keys, reversed or not, and equals in the order of arrival."""

    def message(author: str, subject: str, date: str, size: int = 0) -> bytes:
        return f"From: {author}\r\nSubject: {subject}\r\nDate: {date}\r\n\r\n{'x' * size}\r\n".encode()

    await served.deliver(
        message("Zoe <bob@x.test>", "Re: beta", "Mon, 23 Nov 2026 12:00:00 +0200", 50),
        message("anna@x.test", "Alpha", "Mon, 23 Nov 2026 10:30:00 +0000"),
        message("Yan <carl@x.test>", "[list] Fwd: alpha", "no date", 500),
        message("anna@x.test", "gamma", "Mon, 23 Nov 2026 09:00:00 +0000"),
    )
    client = await served.login("SELECT INBOX")
    for criteria, order in {
        "SUBJECT": "2 3 1 4",
        "REVERSE SUBJECT": "4 1 2 3",
        "SUBJECT REVERSE SIZE": "3 2 1 4",
        "FROM REVERSE DATE": "2 4 1 3",
        "DISPLAYFROM": "2 4 3 1",
        "DATE": "3 4 1 2",
        "SIZE": "2 4 1 3",
        "REVERSE ARRIVAL": "1 2 3 4",
        "TO": "1 2 3 4",
    }.items():
        assert await client.ok(f"SORT ({criteria}) UTF-8 ALL") == [b"* SORT " + order.encode()], criteria
    assert await client.ok("UID SORT (SUBJECT) US-ASCII NOT 2") == [b"* SORT 3 1 4"]
    assert await client.ok("SORT (SIZE) UTF-8 SEEN") == [b"* SORT"]
    assert (await client("SORT (SIZE) KOI8-R ALL"))[-1].startswith(b"NO [BADCHARSET")
    assert (await client("SORT (COLOUR) UTF-8 ALL"))[-1].startswith(b"BAD")


async def test_search_results_are_saved_and_used(served: Any, letter: Letter) -> None:
    """RFC 9051 section 6.4.4.4."""
    await served.deliver(*(letter(n) for n in range(1, 6)))
    client = await served.login("SELECT INBOX")
    assert await client.ok("SEARCH RETURN (SAVE) 2:4") == []
    assert await client.ok("FETCH $ (UID)") == [b"* %d FETCH (UID %d)" % (n, n) for n in (2, 3, 4)]
    assert await client.ok("UID SEARCH RETURN (COUNT MIN MAX) $ NOT 3") == [
        b'* ESEARCH (TAG "t5") UID MIN 2 MAX 4 COUNT 2'
    ]
    await client.ok("STORE $ +FLAGS.SILENT (\\Deleted)")
    await client.ok("UID EXPUNGE 3")
    assert await client.ok("FETCH $ (UID)") == [b"* 2 FETCH (UID 2)", b"* 3 FETCH (UID 4)"]
    await client.ok("SEARCH RETURN (SAVE MIN) ALL")
    assert await client.ok("SEARCH $") == [b"* SEARCH 1"]
    assert (await client("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL"))[-1].startswith(b"NO [BADCHARSET")
    assert await client.ok("FETCH $ (UID)") == []


async def test_a_quota_holds_for_append_and_copy(served: Any, accounts: Any, letter: Letter) -> None:
    """MOVE needs no room; what the quota forbids changes nothing."""
    await served.deliver(letter(1))
    client = await served.login("SELECT INBOX")
    accounts.set_quota("anna@rosewood.test", len(letter(1)) + 10)
    try:
        assert (await client(b"APPEND INBOX {20+}\r\n" + b"x" * 20))[-1].startswith(b"NO [OVERQUOTA]")
        assert (await client("COPY 1 Sent"))[-1].startswith(b"NO [OVERQUOTA]")
        await client.ok(b"APPEND INBOX {10+}\r\n" + b"x" * 10)
        await client.ok("MOVE 1 Sent")
    finally:
        accounts.set_quota("anna@rosewood.test", 0)


async def test_copy_move_and_uid_expunge(served: Any, letter: Letter) -> None:
    await served.deliver(*(letter(n) for n in range(1, 5)))
    client = await served.login("SELECT INBOX")
    assert (await client("COPY 1:2 Nowhere"))[-1].startswith(b"NO [TRYCREATE]")
    (answer,) = await client("COPY 1:2 Sent")
    assert answer.startswith(b"OK [COPYUID ")
    assert answer.split(b"]")[0].endswith(b" 1:2 1:2")
    lines = await client("UID MOVE 2,4 Trash")
    assert lines[0].startswith(b"* OK [COPYUID ")
    assert lines[1:3] == [b"* 4 EXPUNGE", b"* 2 EXPUNGE"]
    await client.ok("STORE 1:2 FLAGS.SILENT (\\Deleted)")
    assert await client.ok("UID EXPUNGE 3:7") == [b"* 2 EXPUNGE"]
    assert await client.ok("CLOSE") == []
    (line,) = await client.ok("STATUS INBOX (MESSAGES UIDNEXT)")
    assert line == b"* STATUS INBOX (MESSAGES 0 UIDNEXT 5)"


async def test_object_ids_and_save_dates(served: Any, letter: Letter) -> None:
    """Copies are the same email; a renamed mailbox is the same mailbox (RFC 8474, RFC 8514)."""
    await served.deliver(letter(1), letter(2))
    client = await served.login("CREATE Work", "SELECT INBOX")
    await client.ok("COPY 2 Work")
    emails = [line.split(b"EMAILID ")[1].split(b" ")[0] for line in await client.ok("FETCH 1:2 (EMAILID THREADID)")]
    assert emails[0] != emails[1]
    (status,) = await client.ok("STATUS Work (MAILBOXID)")
    await client.ok("RENAME Work Play")
    assert (await client.ok("STATUS Play (MAILBOXID)"))[0].split(b"(", 1)[1] == status.split(b"(", 1)[1]
    lines = await client.ok("SELECT Play")
    assert any(status.split(b"MAILBOXID ")[1][:-1] in line for line in lines)
    (line,) = await client.ok("FETCH 1 (EMAILID THREADID SAVEDATE INTERNALDATE)")
    assert line.startswith(b"* 1 FETCH (EMAILID " + emails[1] + b' THREADID NIL SAVEDATE "')
    assert await client.ok("SEARCH EMAILID " + emails[1].decode().strip("()")) == [b"* SEARCH 1"]
    assert await client.ok("SEARCH OR EMAILID M0 THREADID T1") == [b"* SEARCH"]
    assert await client.ok("SEARCH SAVEDSINCE 1-Jan-2025 SAVEDATESUPPORTED") == [b"* SEARCH 1"]
    assert await client.ok("SEARCH SAVEDBEFORE 1-Jan-2025") == [b"* SEARCH"]


async def test_quota_is_told(served: Any, accounts: Any, letter: Letter) -> None:
    """RFC 9208 section 4: one root, in units of 1024 octets; without a limit there is none."""
    await served.deliver(letter(1))
    client = await served.login("SELECT INBOX")
    assert await client.ok("GETQUOTAROOT INBOX") == [b"* QUOTAROOT INBOX"]
    assert (await client('GETQUOTA ""'))[-1].startswith(b"NO [NONEXISTENT]")
    accounts.set_quota("anna@rosewood.test", 10 * 1024)
    try:
        assert await client.ok("GETQUOTAROOT INBOX") == [b'* QUOTAROOT INBOX ""', b'* QUOTA "" (STORAGE 1 10)']
        assert await client.ok('GETQUOTA ""') == [b'* QUOTA "" (STORAGE 1 10)']
        assert (await client("GETQUOTA other"))[-1].startswith(b"NO [NONEXISTENT]")
    finally:
        accounts.set_quota("anna@rosewood.test", 0)
    await client.ok("STORE 1 +FLAGS.SILENT \\Deleted")
    (line,) = await client.ok("STATUS INBOX (DELETED DELETED-STORAGE)")
    assert line == b"* STATUS INBOX (DELETED 1 DELETED-STORAGE %d)" % len(letter(1))


async def test_utf8_accept(served: Any) -> None:
    """RFC 6855: names in UTF-8, and messages with UTF-8 headers."""
    client = await served.login()
    message = "Subject: Gr\u00fc\u00dfe\r\n\r\nx\r\n".encode()
    assert (await client(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(message), message)))[-1].startswith(b"BAD")
    assert await client.ok("ENABLE UTF8=ACCEPT") == [b"* ENABLED UTF8=ACCEPT"]
    await client.ok('CREATE "\u00e9t\u00e9"')
    await client.ok('APPEND "\u00e9t\u00e9" UTF8 (~{%d+}\r\n'.encode() % len(message) + message + b")")
    await client.ok('SELECT "\u00e9t\u00e9"')
    assert await client.ok("FETCH 1 (BODY.PEEK[])") == [b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(message), message)]


async def test_condstore(served: Any, letter: Letter) -> None:
    """RFC 7162 section 3.1: changes since, and changes unless changed since."""
    await served.deliver(letter(1), letter(2))
    client, other = await served.login(), await served.login("SELECT INBOX")
    lines = await client("SELECT INBOX (CONDSTORE)")
    modseq = int(next(line for line in lines if b"HIGHESTMODSEQ" in line).split(b"]")[0].split()[-1])
    await other.ok("STORE 2 +FLAGS.SILENT \\Seen")
    lines = await client(f"STORE 1:2 (UNCHANGEDSINCE {modseq}) +FLAGS \\Flagged")
    assert lines[-1].startswith(b"OK [MODIFIED 2]")
    assert lines[0].startswith(b"* 1 FETCH (FLAGS (\\Flagged) MODSEQ (")
    assert len(await client.ok(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})")) == 2
    assert await client.ok("SEARCH MODSEQ 1000000") == [b"* SEARCH"]
    (line,) = await client.ok(f"SEARCH MODSEQ {modseq}")
    assert line.startswith(b"* SEARCH 1 2 (MODSEQ ")


async def test_qresync(served: Any, letter: Letter) -> None:
    """RFC 7162 section 3.2: what vanished and changed while a client was away, and VANISHED while it is there."""
    await served.deliver(*(letter(n) for n in range(1, 7)))
    client, other = await served.login(), await served.login("SELECT INBOX")
    assert (await client("SELECT INBOX (QRESYNC (1 1))"))[-1].startswith(b"BAD ENABLE QRESYNC")
    assert await client.ok("ENABLE QRESYNC") == [b"* ENABLED QRESYNC"]
    lines = await client.ok("SELECT INBOX")
    known = {word: int(line.split(b"]")[0].split()[-1]) for line in lines
             for word in (b"UIDVALIDITY", b"HIGHESTMODSEQ") if word in line}  # fmt: skip
    validity, modseq = known[b"UIDVALIDITY"], known[b"HIGHESTMODSEQ"]
    await client.ok("UNSELECT")
    await other.ok("STORE 2,4:5 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    await other.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    lines = await client.ok(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:6 (1,6 1,6)))")
    assert lines[-2] == b"* VANISHED (EARLIER) 2,4:5"
    assert lines[-1].startswith(b"* 1 FETCH (FLAGS (\\Seen) UID 1 MODSEQ (")
    lines = await client.ok(f"SELECT INBOX (QRESYNC ({validity} {modseq} 3:4))")
    assert lines[-1] == b"* VANISHED (EARLIER) 4"
    lines = await client.ok(f"SELECT INBOX (QRESYNC ({validity + 1} {modseq}))")
    assert not any(b"VANISHED" in line for line in lines)
    lines = await client.ok(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
    assert lines[0] == b"* VANISHED (EARLIER) 2,4:5"
    assert len(lines) == 2
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    assert (await client.ok("NOOP"))[-1] == b"* VANISHED 1"
    assert await client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)") != []
    assert await client.ok("EXPUNGE") == [b"* VANISHED 3"]


async def test_wrong_numbers_and_states_are_bad(served: Any) -> None:
    client = await served.login()
    assert (await client("FETCH 1 (FLAGS)"))[-1].startswith(b"BAD FETCH is not allowed while authenticated")
    await client.ok("SELECT INBOX")
    assert (await client("FETCH 1 (FLAGS)"))[-1].startswith(b"BAD a message number")
    assert await client.ok("UID FETCH 1:* (FLAGS)") == []
    assert await client.ok("FETCH 1:* (FLAGS)") == []
    assert await client.ok("SEARCH 1:5000") == [b"* SEARCH"]
    assert (await client("LOGIN a b"))[-1].startswith(b"BAD")


async def test_a_stopping_service_takes_leave(served: Any) -> None:
    client = await served.login()
    stopping = asyncio.create_task(served.listeners[0].stop(grace_seconds=5))
    assert (await client.line()).startswith(b"* BYE")
    await stopping


async def test_the_usual_mailboxes_are_made_though_mail_came_first(served: Any) -> None:
    """An account that has got mail before anybody logged in has INBOX alone until then."""
    await served.store.remove_account("anna@rosewood.test")
    await served.deliver(b"Subject: early\r\n\r\n")
    assert [each.name for each in await served.store.mailboxes("anna@rosewood.test")] == ["INBOX"]
    client = await served.login()
    names = [line.rpartition(b" ")[2] for line in await client('LIST "" "*"') if line.startswith(b"* LIST")]
    assert sorted(names) == [b"Archive", b"Drafts", b"INBOX", b"Junk", b"Sent", b"Trash"]
    assert b"* 1 EXISTS" in await client("SELECT INBOX")
