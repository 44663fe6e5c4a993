"""The user agent reads from the access service: our client against our server, under TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.root import letterlock
from letterlock.formats.mime.partial import split
from letterlock.host.entropy import SeededEntropy
from letterlock.host.stream import TlsFailed
from letterlock.host.tls import KeyPair
from letterlock.mua.read import Declined, MailReader
from letterlock.mua.settings import MailServer, UserAgentSettings

Letter = Callable[..., bytes]


def settings(served: Any, key_pair: KeyPair, *, scheme: str = "imaps", **changed: Any) -> UserAgentSettings:
    port = served.imaps_port if scheme == "imaps" else served.imap_port
    server = MailServer.parse(f"{scheme}://127.0.0.1:{port}", "imap", name=changed.pop("name", "mx.rosewood.test"))
    values = {"user": "anna", "password": "correct horse", "imap": server, "roots": key_pair.chain} | changed
    return UserAgentSettings(**values)


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
async def test_a_message_is_stored_listed_and_read(
    tls_served: Any, key_pair: KeyPair, letter: Letter, scheme: str
) -> None:
    await tls_served.deliver(letter(1), letter(2))
    async with MailReader(settings(tls_served, key_pair, scheme=scheme), SeededEntropy()) as reader:
        assert {one.name for one in await reader.mailboxes()} == {"INBOX", "Drafts", "Sent", "Trash"}
        (summary,) = await reader.summaries("INBOX", newest=1)
        assert (summary.uid, summary.subject, summary.sender) == (2, "Letter 2", "Bertram <bertram@harbor.test>")
        assert await reader.message("INBOX", 2) == letter(2)
        assert await reader.append("Trash", letter(1)) == 1
        assert await reader.keep_sent(letter(3)) == "Sent"
        assert [one.flags for one in await reader.summaries("Sent")] == [("\\Seen",)]
        with pytest.raises(Declined):
            await reader.message("INBOX", 9)
        with pytest.raises(Declined):
            await reader.summaries("Nowhere")


async def test_a_wrong_name_or_password_goes_no_further(tls_served: Any, key_pair: KeyPair) -> None:
    with pytest.raises(TlsFailed):
        async with MailReader(settings(tls_served, key_pair, name="mx.harbor.test"), SeededEntropy()):
            pass
    with pytest.raises(Declined, match="does not let anna in"):
        async with MailReader(settings(tls_served, key_pair, password="wrong"), SeededEntropy()):
            pass


async def invoke(served: Any, key_pair: KeyPair, *arguments: str) -> Result:
    environment = {
        "LETTERLOCK_USER": "anna@rosewood.test",
        "LETTERLOCK_PASSWORD": "correct horse",
        "LETTERLOCK_IMAP": f"imaps://127.0.0.1:{served.imaps_port}",
        "LETTERLOCK_CA": str(key_pair.chain),
    }
    return await asyncio.to_thread(CliRunner().invoke, letterlock, ["mail", *arguments], env=environment)


async def test_the_commands_list_and_show(tls_served: Any, key_pair: KeyPair, letter: Letter) -> None:
    await tls_served.deliver(letter(1), letter(2, "An escape: \x1b[31m"))
    listed = await invoke(tls_served, key_pair, "list")
    assert "Letter 2" in listed.output
    as_json = json.loads((await invoke(tls_served, key_pair, "list", "--json")).output)
    assert [one["uid"] for one in as_json] == [1, 2]
    shown = await invoke(tls_served, key_pair, "show", "2")
    assert "Subject: Letter 2" in shown.output
    assert "\x1b" not in shown.output
    raw = await invoke(tls_served, key_pair, "show", "1", "--raw")
    assert raw.stdout_bytes == letter(1)
    missing = await invoke(tls_served, key_pair, "show", "7")
    assert missing.exit_code == 1
    names = await invoke(tls_served, key_pair, "list", "--mailboxes")
    assert "Drafts" in names.output


async def test_a_split_message_is_shown_whole(tls_served: Any, key_pair: KeyPair) -> None:
    """RFC 2046 section 5.2.2: from any fragment, in whatever order they came; alone it shows as what it is."""
    whole = b"From: a@harbor.test\r\nSubject: Long\r\nContent-Type: text/plain\r\n\r\n" + b"a line of it\r\n" * 900
    parts = split(whole, most_octets=5000, identifier="set@x", message_ids=["1@x", "2@x", "3@x"])
    other = split(whole, most_octets=5000, identifier="other@x", message_ids=["4@x", "5@x", "6@x"])
    await tls_served.deliver(parts[2], other[0], parts[0])
    alone = json.loads((await invoke(tls_served, key_pair, "show", "1", "--json")).output)
    assert (alone["texts"], alone["attachments"][0]["note"]) == ([], "a fragment of a larger message")
    await tls_served.deliver(parts[1])
    shown = json.loads((await invoke(tls_served, key_pair, "show", "1", "--json")).output)
    assert (shown["subject"], shown["texts"][0]["text"]) == ("Long", "a line of it\n" * 900)


async def test_the_commands_say_what_is_wrong(tls_served: Any, key_pair: KeyPair) -> None:
    assert (await invoke(tls_served, key_pair, "list", "--imap", "ftp://x")).exit_code == 78
    unreachable = await invoke(tls_served, key_pair, "list", "--imap", "imaps://127.0.0.1:1")
    assert unreachable.exit_code == 69
    assert "127.0.0.1:1" in unreachable.output
    refused = await invoke(tls_served, key_pair, "list", "--password", "wrong")
    assert refused.exit_code == 1
