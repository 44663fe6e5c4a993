"""XCLIENT over real connections: the client a trusted proxy names is the one that is judged and logged."""

from __future__ import annotations

import asyncio
import ipaddress
import smtplib
from dataclasses import replace

import pytest
from tests.msa.test_submission import accounts, submission
from tests.mta.test_inbound import SETTINGS, codes, converse, inbound

from letterlock.host.networks import is_within
from letterlock.host.tls import KeyPair
from letterlock.msa.inbound import SubmissionSettings
from letterlock.store.accounts import Accounts

__all__ = ["accounts"]
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
MESSAGE = b"From: ada@rosewood.test\r\n\r\nText\r\n.\r\nQUIT\r\n"


async def test_who_is_introduced_is_in_received() -> None:
    """The address goes into the trace, and SPF is judged by it."""
    judged = []

    async def judge(address: str, name: str, *_: object) -> None:
        judged.append((address, name))

    async with inbound(replace(SETTINGS, trusted_proxies=LOOPBACK), judge_sender=judge) as (endpoint, ledger, _):
        answer = await converse(
            endpoint,
            b"EHLO proxy.test\r\nXCLIENT NAME=mx.harbor.test ADDR=192.0.2.77 PORT=25\r\nEHLO mx.harbor.test\r\n"
            b"MAIL FROM:<x@harbor.test>\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + MESSAGE,
        )
    assert codes(answer) == ["220", "250", "220", "250", "250", "250", "354", "250", "221"]
    assert b"XCLIENT NAME ADDR PORT PROTO HELO\r\n" in answer
    assert judged == [("192.0.2.77", "mx.harbor.test")]
    assert b"Received: from mx.harbor.test ([192.0.2.77])" in b"".join(ledger.transactions[0].octets)


async def test_others_are_who_they_are() -> None:
    """Without trust XCLIENT is refused, and the address stays."""
    async with inbound() as (endpoint, _, _):
        answer = await converse(endpoint, b"EHLO x.test\r\nXCLIENT ADDR=192.0.2.77\r\nQUIT\r\n")
    assert codes(answer) == ["220", "250", "550", "221"]


@pytest.mark.parametrize(("login", "expected"), [("ada+40rosewood.test", 250), ("nobody+40rosewood.test", 535)])
async def test_a_login_is_taken_over(accounts: Accounts, key_pair: KeyPair, login: str, expected: int) -> None:
    """A submission proxy that has authenticated its client says so; an account must be behind it."""
    settings = SubmissionSettings("mx.rosewood.test", trusted_proxies=LOOPBACK)

    def proxy(port: int) -> list[int]:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.ehlo("proxy.test")
            assert client.docmd("MAIL", "FROM:<ada@rosewood.test>")[0] == 530
            said = [client.docmd("XCLIENT", f"ADDR=192.0.2.77 LOGIN={login}")[0]]
            if said == [220]:
                client.ehlo("laptop.test")
                said = [client.mail("ada@rosewood.test")[0], client.mail("eve@rosewood.test")[0]]
                assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] != 235
        return said[:1]

    async with submission(accounts, key_pair, implicit=False, settings=settings) as (endpoint, _):
        assert await asyncio.to_thread(proxy, endpoint.port) == [expected]


def test_networks() -> None:
    """Mapped addresses count as what they are; paths are nowhere."""
    assert is_within("127.0.0.1", LOOPBACK)
    assert is_within("::ffff:127.0.0.1", LOOPBACK)
    assert not is_within("::1", LOOPBACK)
    assert not is_within("/run/lmtp", LOOPBACK)
    assert not is_within("127.0.0.1", ())
