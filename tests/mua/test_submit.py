"""The user agent submits to our own submission service, through the library and the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.root import letterlock
from letterlock.errors import PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient
from letterlock.formats.mime.entity import parse
from letterlock.formats.outcome import Outcome
from letterlock.formats.outcome import Result as Fate
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log, send_to
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.msa.inbound import Submission, SubmissionSettings
from letterlock.mua.compose import Draft, compose
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.mua.submit import submit
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Receipt, Store, Transaction

ADA, PASSWORD = "ada@rosewood.test", "a pässword"


class Ledger:
    """Stands where the store stands and keeps what it was given."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        self.transactions.append(transaction)
        return Receipt(len(self.transactions))


class Nobody:
    """No recipient of our own domain is here."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Any:
        return Outcome(recipient.forward_path, Fate.FAILED, "5.1.1", "No such user here")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    """Ada's account."""
    made = Accounts(tmp_path_factory.mktemp("accounts") / "accounts", default_domain="rosewood.test")
    made.add(ADA, PASSWORD)
    return made


@contextlib.asynccontextmanager
async def submission(accounts: Accounts, key_pair: KeyPair, scheme: str) -> AsyncIterator[tuple[str, Ledger]]:
    """A running server: its URL, and the ledger of what it committed."""
    before = send_to(lambda _line: None)
    ledger, tls, clock = Ledger(), ServerTls([key_pair]), SystemClock()
    service = Submission(
        SubmissionSettings("mx.rosewood.test"), store=cast(Store, ledger), accounts=accounts, recipients=Nobody(),
        tls=tls, guard=LoginGuard(clock), clock=clock, entropy=SystemEntropy(), log=Log("msa"),
    )  # fmt: skip
    listener = Listener(service.session, log=Log("msa"), tls=tls if scheme == "submissions" else None)
    await listener.start([bind("127.0.0.1", 0)])
    try:
        yield f"{scheme}://127.0.0.1:{listener.endpoints[0].port}", ledger
    finally:
        await listener.stop(grace_seconds=5)
        send_to(before)


@pytest.mark.parametrize("scheme", ["submission", "submissions"])
async def test_a_draft_is_submitted(accounts: Accounts, key_pair: KeyPair, scheme: str) -> None:
    """Each recipient gets its own answer; the octets go out as composed."""
    draft = Draft(f"Ada <{ADA}>", ("bob@harbor.test", "nobody@rosewood.test"), "Gr\u00fc\u00dfe", "Hallo\n")
    composed = compose(draft, clock=SystemClock(), entropy=SystemEntropy())
    async with submission(accounts, key_pair, scheme) as (url, ledger):
        server = MailServer.parse(url, "submission", name="mx.rosewood.test")
        settings = UserAgentSettings(ADA, PASSWORD, submission=server, roots=key_pair.chain)
        outcomes = await submit(composed, settings, SystemEntropy())
        wrong = UserAgentSettings(ADA, "wrong", submission=server, roots=key_pair.chain)
        with pytest.raises(PeerFault):
            await submit(composed, wrong, SystemEntropy())
    assert [(str(one.recipient), one.accepted) for one in outcomes] == [
        ("bob@harbor.test", True),
        ("nobody@rosewood.test", False),
    ]
    (transaction,) = ledger.transactions
    assert b"".join(transaction.octets).endswith(composed.content)


async def invoke(url: str, key_pair: KeyPair, *arguments: str, given: str | None = None) -> Result:
    environment = {
        "LETTERLOCK_USER": ADA,
        "LETTERLOCK_PASSWORD": PASSWORD,
        "LETTERLOCK_SUBMISSION": url,
        "LETTERLOCK_CA": str(key_pair.chain),
    }
    return await asyncio.to_thread(
        CliRunner().invoke, letterlock, ["mail", "send", *arguments], env=environment, input=given
    )


async def test_the_command_sends_text_and_files(accounts: Accounts, key_pair: KeyPair, tmp_path: Path) -> None:
    attachment = tmp_path / "b\u00e9.bin"
    attachment.write_bytes(bytes(range(256)))
    async with submission(accounts, key_pair, "submissions") as (url, ledger):
        done = await invoke(
            url, key_pair, "bob@harbor.test", "--subject", "x", "--attach", str(attachment), "--json", given="H\u00e9\n"
        )
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["recipients"][0]["accepted"]
        refused = await invoke(url, key_pair, "nobody@rosewood.test", "--text", "x")
        assert refused.exit_code == 1
        assert "No such user" in refused.output
        assert (await invoke(url, key_pair, "--text", "to nobody")).exit_code == 64
    tree = parse(b"".join(ledger.transactions[0].octets))
    assert tree.children[0].text().strip() == "H\u00e9"
    assert tree.children[1].content() == bytes(range(256))


async def test_the_command_sends_a_whole_message(accounts: Accounts, key_pair: KeyPair, tmp_path: Path) -> None:
    whole = tmp_path / "message.eml"
    whole.write_bytes(f"From: {ADA}\nTo: bob@harbor.test\nDate: Mon, 23 Nov 2026 10:00:00 +0000\n\nbody\n".encode())
    async with submission(accounts, key_pair, "submission") as (url, ledger):
        done = await invoke(url, key_pair, "--raw", str(whole))
        assert done.exit_code == 0, done.output
    assert b"".join(ledger.transactions[0].octets).endswith(b"\r\n\r\nbody\r\n")
