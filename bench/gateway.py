"""The gateway's work on one message, signing it on its way out and opening it on its way in, beside the program `openssl cms`.

Ours is what submission and the queue call (gateway/sign.py, gateway/treat.py), with the key store, the thread and the judging of
what was opened; the peer a filter that runs the program once a message. CPU milliseconds, medians of alternating runs, ECDSA and
ECDH on P-256, AES-256-GCM.
"""

from __future__ import annotations

import asyncio
import datetime
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.sign import SubmissionSigner
from letterlock.gateway.signature_record import SignatureRecord
from letterlock.gateway.treat import Treatment, TreatmentSettings
from letterlock.gateway.workshop import Workshop
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log, send_to
from letterlock.registrar import enrol
from letterlock.registrar.authority import AuthoritySettings, CertificationAuthority
from letterlock.registrar.gateway_accounts import GatewayAccount, GatewayAccounts, Signing
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.registry import Registry
from letterlock.store.interface import Delivery, QueuedRecipient, QueueEntry, Store
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs, public_keys
from letterlock.trust.smime import protect
from letterlock.trust.smime.encrypt import To

ADA = "ada@rosewood.test"
HEAD = f"From: {ADA}\r\nTo: bruno@rosewood.test\r\nSubject: Beds\r\nContent-Type: text/plain\r\n\r\n".encode()
_SIGN = ("-sign", "-signer", "signing.pem", "-inkey", "signing.key", "-crlfeol")
_OPEN = ("-decrypt", "-recip", "encryption.pem", "-inkey", "encryption.key")
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class _Site:
    """One account with keys, and what submission and the queue would call for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        founded = issue.found(key_pairs.generate("p256"), Name.make(CN="Rosewood"), NOW, 3650, 1)
        authority = CertificationAuthority(
            founded, Registry(folder / "registry"), AuthoritySettings(("rosewood.test",))
        )
        self.store = KeyStore(folder / "keys", b"x")
        self.signing, self.encryption = enrol.enrol(self.store, authority, (ADA,), NOW)
        accounts = GatewayAccounts(folder / "keys")
        accounts.put(GatewayAccount(ADA, Signing.ALWAYS, decrypts=True))
        keys = DomainKeys(self.store, accounts, lambda name: (name,))
        log, entropy = Log("smime"), SystemEntropy()
        record, workshop = SignatureRecord(None, log), Workshop()
        self.signer = SubmissionSigner(keys, workshop, record, SystemClock(), entropy, log)
        self.octets = b""
        settings = TreatmentSettings("mail.rosewood.test")
        stored = cast(Store, SimpleNamespace(read=self._read))
        ledger = Ledger.open(folder / "ledger")
        self.treatment = Treatment(settings, keys, None, workshop, stored, record, ledger, entropy, log)
        for name, certificate in (("signing", self.signing), ("encryption", self.encryption)):
            key = self.store.key(public_keys.key_id(certificate.public_key).hex())
            (folder / f"{name}.key").write_bytes(key_pairs.dump(key, None))
            (folder / f"{name}.pem").write_bytes(pem.encode("CERTIFICATE", certificate.octets))

    async def _read(self, _content: int, offset: int = 0, length: int | None = None) -> bytes:
        return self.octets[offset:] if length is None else self.octets[offset : offset + length]

    async def sign(self) -> None:
        assert isinstance(await self.signer(ADA, (self.octets,)), tuple)

    async def open(self) -> None:
        recipient = QueuedRecipient(1, Recipient(Address.parse(ADA)), 0.0)
        envelope = Envelope(None, (recipient.recipient,))
        entry = QueueEntry("q", envelope, 1, len(self.octets), 0.0, 0.0, 0, "", "", {}, (recipient,))
        treated = await self.treatment.treat(entry, recipient, (Delivery(ADA),), NOW.timestamp())
        assert treated.transactions

    def openssl(self, *arguments: str) -> None:
        files = [str(self.folder / each) if each.endswith((".key", ".pem")) else each for each in arguments]
        subprocess.run(["openssl", "cms", *files], input=self.octets, stdout=subprocess.DEVNULL, check=True)


def _cpu(action: Callable[[], object]) -> float:
    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    started = spent()
    action()
    return (spent() - started) * 1000


def _row(what: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> None:
    ours()
    times = [(_cpu(ours), _cpu(peer)) for _ in range(rounds)]
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{what:48} | {first:8.2f} | {second:8.2f} | {first / second:5.2f}")


def main() -> None:
    """Print the rows."""
    before = send_to(lambda _line: None)
    print(f"{'CPU ms a message':48} | {'ours':>8} | {'peer':>8} | ratio")
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        site = _Site(Path(name))

        def run(task: Callable[[], Any]) -> None:
            runner.run(task())

        for label, size, rounds in (("10 KB", 10_000, 30), ("1 MB", 1_000_000, 10), ("10 MB", 10_000_000, 3)):
            text = HEAD + b"Dig on Monday, and rake on Tuesday.\r\n" * (size // 37)
            site.octets = text
            _row(f"{label} signed, multipart/signed", partial(run, site.sign), partial(site.openssl, *_SIGN), rounds)
            signer = site.signer.keys.signer(ADA, NOW)() if site.signer.keys else None
            assert signer is not None
            signed = protect.sign_message(text, (signer,), NOW, token="t")
            site.octets = protect.encrypt_message(signed, (To(site.encryption),))
            what = f"{label} opened and judged, peer: decrypted only"
            _row(what, partial(run, site.open), partial(site.openssl, *_OPEN), rounds)
        site.treatment.ledger.close()
    send_to(before)


if __name__ == "__main__":
    main()
