"""What has been sent to mail servers to make them see commands where there are none, by name.

docs/hostile.md shows the same names; tests/test_documentation.py compares them.
"""

from __future__ import annotations

# False ends of data: what some server somewhere took for <CR><LF>.<CR><LF>, or made into it (SMTP smuggling, 2023, and before).
FALSE_ENDS: dict[str, bytes] = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "LF.CR": b"\n.\r",
    "CR.CR": b"\r.\r",
    "CR.LF": b"\r.\n",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CRLF.CR": b"\r\n.\r",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRCRLF": b"\r\r\n.\r\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\n",
    "CRLFLF.CRLF": b"\r\n\n.\r\n",
    "CRLFCR.CRLF": b"\r\n\r.\r\n",
    "LFCR.CRLF": b"\n\r.\r\n",
    "LFLF.CRLF": b"\n\n.\r\n",
    "CRLF NUL.CRLF": b"\r\n\0.\r\n",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "LF NUL.CRLF": b"\n\0.\r\n",
    "NUL CRLF.LF": b"\0\r\n.\n",
    "CR NUL LF.CR NUL LF": b"\r\0\n.\r\0\n",
}

# What looks like a line end to programs that ask Unicode, or like a dot line to those that cut at it: only text.
LOOK_ALIKES: dict[str, bytes] = {
    "NEL.NEL": b"\xc2\x85.\xc2\x85",
    "raw NEL.NEL": b"\x85.\x85",
    "LS.LS": b"\xe2\x80\xa8.\xe2\x80\xa8",
    "PS.CRLF": b"\xe2\x80\xa9.\r\n",
    "VT.CRLF": b"\x0b.\r\n",
    "FF.FF": b"\x0c.\x0c",
    "FS.GS": b"\x1c.\x1d",
    "CRLF SP.CRLF": b"\r\n .\r\n",
    "CRLF.SP CRLF": b"\r\n. \r\n",
    "CRLF..CRLF": b"\r\n..\r\n",
    "overlong CRLF.CRLF": b"\xc0\x8d\xc0\x8a.\xc0\x8d\xc0\x8a",
    "full-width dot": b"\r\n\xef\xbc\x8e\r\n",
    "base64 dot line": b"\r\nDQouDQo=\r\n",
}

# Lines behind a greeting and EHLO, and the code of the answer to each: none may become two commands, or another one.
COMMANDS: dict[str, tuple[bytes, str]] = {
    "CR in EHLO": (b"EHLO a\rMAIL FROM:<evil@b.test>", "500"),
    "NUL in EHLO": (b"EHLO a\0MAIL FROM:<evil@b.test>", "500"),
    "VT in EHLO": (b"EHLO a\x0bMAIL", "500"),
    "LS in EHLO": (b"EHLO a\xe2\x80\xa8MAIL", "501"),
    "NEL in EHLO": (b"EHLO a\xc2\x85MAIL", "501"),
    "two names in EHLO": (b"EHLO a b", "501"),
    "CR in an address": (b"MAIL FROM:<a\rb@c.test>", "500"),
    "quoted CR in an address": (b'MAIL FROM:<"a\r"@c.test>', "500"),
    "LS in an address": (b"MAIL FROM:<a\xe2\x80\xa8b@c.test> SMTPUTF8", "501"),
    "quoted PS in an address": (b'MAIL FROM:<"a\xe2\x80\xa9b"@c.test> SMTPUTF8', "501"),
    "NEL in an address": (b"MAIL FROM:<a\xc2\x85b@c.test> SMTPUTF8", "501"),
    "bracket behind a quote": (b'MAIL FROM:<"a>\\" SIZE=1 <"b@c.test>', "501"),
    "command in a quoted string": (b'MAIL FROM:<"a> \\\r RCPT TO:<"@c.test>', "500"),
    "LS between parameters": (b"MAIL FROM:<a@c.test> SIZE=1\xe2\x80\xa8BODY=8BITMIME", "501"),
    "VT between parameters": (b"MAIL FROM:<a@c.test> SIZE=1\x0bBODY=7BIT", "500"),
    "CRLF in ENVID": (b"MAIL FROM:<a@c.test> ENVID=a+0D+0ARSET", "501"),
    "small xtext in ENVID": (b"MAIL FROM:<a@c.test> ENVID=a+0d+0aRSET", "501"),
    "NUL in ENVID": (b"MAIL FROM:<a@c.test> ENVID=a+00", "501"),
    "CRLF in AUTH=": (b"MAIL FROM:<a@c.test> AUTH=a+0D+0AQUIT", "555"),
    "a parameter twice": (b"MAIL FROM:<a@c.test> SIZE=1 SIZE=9", "501"),
    "CRLF in SOLICIT": (b"MAIL FROM:<a@c.test> SOLICIT=a+0D+0A", "501"),
    "a long s in a verb": ("RſET".encode(), "500"),
    "a dotless i in a verb": ("MAıL FROM:<a@c.test>".encode(), "500"),
    "a dotless i in a value": ("MAIL FROM:<a@c.test> BODY=8BıTMIME".encode(), "501"),
    "a long s in BDAT": ("BDAT 0 LAſT".encode(), "501"),
    "full-width digits in BDAT": ("BDAT １ LAST".encode(), "501"),
    "BDAT without end": (b"BDAT 18446744073709551616 LAST", "552"),
    "BDAT below nothing": (b"BDAT -1 LAST", "501"),
    "BDAT in hexadecimal": (b"BDAT 0x10 LAST", "501"),
    "STARTTLS with words": (b"STARTTLS now", "501"),
    "XCLIENT by a stranger": (b"XCLIENT ADDR=127.0.0.1 LOGIN=root", "550"),
    "XFORWARD by a stranger": (b"XFORWARD ADDR=127.0.0.1", "500"),
    "a web client": (b"POST / HTTP/1.1", "421"),
    "malformed UTF-8": (b"MAIL FROM:<\xc3\x28@c.test> SMTPUTF8", "500"),
    "overlong UTF-8": (b"MAIL FROM:<a\xc0\x8ab@c.test> SMTPUTF8", "500"),
    "a surrogate in UTF-8": (b"MAIL FROM:<a\xed\xa0\x80b@c.test> SMTPUTF8", "500"),
    "Latin-1": (b"MAIL FROM:<gr\xe5@c.test> SMTPUTF8", "500"),
}

# Parameters of RCPT, and the code of the answer.
RECIPIENTS: dict[str, tuple[bytes, str]] = {
    "CRLF in ORCPT": (b"ORCPT=rfc822;a+0D+0ADATA", "501"),
    "CRLF in UTF-8 ORCPT": (b"ORCPT=utf-8;a\\x{0D}\\x{0A}DATA", "501"),
    "LS in UTF-8 ORCPT": (b"ORCPT=utf-8;a\\x{2028}b", "501"),
    "raw LS in UTF-8 ORCPT": (b"ORCPT=utf-8;a\xe2\x80\xa8b", "501"),
    "NEL in UTF-8 ORCPT": (b"ORCPT=utf-8;a\\x{85}b", "501"),
    "CR in ORCPT's type": (b"ORCPT=rfc\r822;a", "500"),
    "a surrogate in ORCPT": (b"ORCPT=utf-8;\\x{D800}", "501"),
    "a long s in NOTIFY": ("NOTIFY=ſUCCESS".encode(), "501"),
    "CRLF in RRVS": (b"RRVS=2014-04-03T23:01:00Z;C+0D+0A", "501"),
    "Arabic digits in RRVS": ("RRVS=٢٠١٤-04-03T23:01:00Z".encode(), "501"),
}

# What a server says behind its go-ahead to STARTTLS, in plain text, to have it taken for protected.
INJECTED_ANSWERS: dict[str, bytes] = {
    "an offer": b"250-mx.test\r\n250 AUTH PLAIN\r\n",
    "half a reply": b"250-",
    "a greeting": b"220 welcome\r\n",
    "a line end": b"\r\n",
}

# What commands stand behind STARTTLS or STLS in plain text, to be obeyed under TLS; the service, its dialogue before, the octets.
INJECTED_COMMANDS: dict[str, tuple[str, bytes, bytes]] = {
    "SMTP: a whole command": ("smtp", b"EHLO x\r\n", b"STARTTLS\r\nRSET\r\n"),
    "SMTP: a transaction": ("smtp", b"EHLO x\r\n", b"STARTTLS\r\nEHLO y\r\nMAIL FROM:<evil@b.test>\r\n"),
    "SMTP: half a command": ("smtp", b"EHLO x\r\n", b"STARTTLS\r\nNOOP half"),
    "SMTP: content": ("smtp", b"EHLO x\r\n", b"STARTTLS\r\n" + b"x" * 5000),
    "submission: AUTH": ("submission", b"EHLO x\r\n", b"STARTTLS\r\nEHLO y\r\nAUTH PLAIN AGEAYg==\r\n"),
    "IMAP: a whole command": ("imap", b"", b"a STARTTLS\r\nb LOGOUT\r\n"),
    "IMAP: a login": ("imap", b"", b"a STARTTLS\r\nb LOGIN ada@rosewood.test x\r\n"),
    "IMAP: half a command": ("imap", b"", b"a STARTTLS\r\nb NOO"),
    "IMAP: a literal": ("imap", b"", b"a STARTTLS\r\nb LOGIN {3}\r\n"),
    "POP3: a whole command": ("pop3", b"", b"STLS\r\nQUIT\r\n"),
    "POP3: a login": ("pop3", b"", b"STLS\r\nUSER ada@rosewood.test\r\n"),
    "POP3: half a command": ("pop3", b"", b"STLS\r\nQUI"),
}

# What costs whom it is sent to, and what bounds the cost.
FLOODS: dict[str, str] = {
    "a line of 1 GB in a command": "read over, 4,096 octets kept",
    "a line of 1 GB in content": "`limits.message_octets` kept, 552 at its end",
    "a line of 1 GB in AUTH": "read over, 12,288 octets kept",
    "an octet a second in a command": "300 s for the whole command",
    "an octet a second in content": "1,000 octets a second at least",
    "recipients without end": "`limits.recipients`, then 452",
    "guessed recipients": "100 refused ones a session, then 421",
    "NOOP without end": "2,000 commands without mail, then 421",
    "wrong commands without end": "20, then 421",
    "parameters without end": "20 a command",
    "guessed passwords in a session": "3, then 421",
    "guessed passwords of a network": "5, then 454 for 5 s and twice as long each time",
    "BDAT of nothing without end": "2,000 commands without mail, then 421",
    "an endless reply": "2,048 octets a line, 128 lines",
}
