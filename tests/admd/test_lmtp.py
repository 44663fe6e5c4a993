"""The LMTP service of a whole server, over its Unix socket, as a mail server in front has it."""

from __future__ import annotations

import imaplib
import smtplib
import socket
from pathlib import Path

import pytest
from tests.admd.test_serve import SERVICES, Server, unverified

from letterlock.admd.settings import parse
from letterlock.admd.sockets import bound_sockets
from letterlock.errors import SettingsFault


def test_mail_is_handed_over_through_a_socket(tmp_path: Path) -> None:
    """One reply for each recipient; what was taken is in the mailbox; a socket that a stopped server left is replaced."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "lmtp"))
    stale.close()
    listen = {name: ["127.0.0.1:0"] for name in SERVICES} | {"lmtp": ["127.0.0.1:0", "unix:lmtp"]}
    server = Server(tmp_path, listen=listen)
    with server.running():
        for number, place in enumerate((str(tmp_path / "lmtp"), "127.0.0.1")):
            with smtplib.LMTP(place, server.port("lmtp") if number else 0) as client:
                client.ehlo("front.test")
                assert b"LHLO" in client.docmd("EHLO", "front.test")[1]
                assert client.mail("sam@harbor.test")[0] == 250
                assert client.rcpt("ada@rosewood.test")[0] == 250
                assert client.rcpt("nobody@rosewood.test") == (
                    550,
                    b"5.1.1 No mailbox here has the address nobody@rosewood.test",
                )
                assert client.rcpt("sam@harbor.test")[0] == 550
                assert client.data(f"Subject: {number}\r\n\r\nText\r\n".encode())[0] == 250
        with imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=unverified()) as reader:
            reader.login("ada@rosewood.test", "a long enough secret")
            assert reader.select() == ("OK", [b"2"])
            octets = reader.fetch("1", "(BODY[])")[1][0][1]  # type: ignore[index]
    assert octets.startswith(
        b"Return-Path: <sam@harbor.test>\r\nDelivered-To: ada@rosewood.test\r\nReceived: from front.test "
    )
    assert b"with LMTP\r\n" in octets
    accepted = [event for event in server.log if event["event"] == "accepted"]
    assert [event["role"] for event in accepted] == ["lmtp", "lmtp"]


@pytest.mark.parametrize("place", ["0.0.0.0:24", "[::]:24", "8.8.8.8:24", "unix:", "mail.test:24", "24"])
def test_the_socket_is_not_for_the_whole_world(tmp_path: Path, place: str) -> None:
    """Who reaches it may deliver without being judged."""
    with pytest.raises(SettingsFault, match=r"listen\.lmtp"):
        parse({"domain": "rosewood.test", "listen": {"lmtp": [place]}}, tmp_path / "letterlock.toml")


def test_a_path_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    """With the other problems, and nothing stays open."""
    listen: dict[str, list[str]] = {name: [] for name in SERVICES} | {"lmtp": ["unix:no/such/folder/lmtp"]}
    with pytest.raises(SettingsFault, match=r"listen\.lmtp = 'unix:no/such/folder/lmtp'"):
        bound_sockets(parse({"domain": "rosewood.test", "listen": listen}, tmp_path / "letterlock.toml"))
