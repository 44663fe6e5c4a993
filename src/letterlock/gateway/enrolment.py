"""The domain's certification authority at work: requests and answers by mail, decisions of the administrator, lists and OCSP.

A message to the authority's address is handled in the queue (gateway/programs.py); what it answers is queued in the change
that ends the message. Handled twice, after a crash, it is answered the same (registrar/registry.py). What an administrator
decided with `letterlock ca` is noticed within seconds, and told.

Standards: RFC 5280 section 5 (lists), RFC 6960 appendix A.1 (OCSP over HTTP), RFC 2585 section 4 (media types), RFC 3834.
"""

from __future__ import annotations

import asyncio
import binascii
import datetime
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from letterlock.errors import LetterlockError, Malformed, Unavailable
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.write import write_field
from letterlock.formats.outcome import Outcome, Result
from letterlock.formats.x509 import ocsp
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.host.clock import Clock
from letterlock.host.drive_work import contain
from letterlock.host.logs import Log
from letterlock.host.pages import Asked, Page, Pages
from letterlock.mta.inbound import queue_entries
from letterlock.mta.queue.local import Served
from letterlock.registrar import by_mail
from letterlock.registrar.authority import CertificationAuthority
from letterlock.registrar.by_mail import Outgoing
from letterlock.store.interface import Instant, QueuedRecipient, QueueEntry, Store, Transaction

T = TypeVar("T")
_LOOK_SECONDS = 2.0
_LONG_AGO = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
TRY_LATER = ocsp.encode_failure(3)  # RFC 6960 section 4.2.1
_MOST_OCTETS = 1 << 20


@dataclass(slots=True)
class Enrolment:
    """One authority. `sign` puts DKIM signatures before a message of a domain; `published` hears of new certificates."""

    authority: CertificationAuthority
    address: Address | None
    store: Store
    sign: Callable[[str, tuple[bytes, ...]], Awaitable[bytes]]
    published: Callable[[tuple[Certificate, ...]], Awaitable[None]]
    clock: Clock
    log: Log
    expire_seconds: float = 432_000
    _seen: int = 0
    _list_now: RevocationList | None = None
    _list_until: datetime.datetime = _LONG_AGO
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def _work(self, task: Callable[[], T]) -> T:
        """Do something with the authority in a thread, one thing at a time: its registry waits for the disk."""
        async with self._turn:
            return await asyncio.to_thread(task)

    async def serve(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served:
        """Handle a message to the authority, as the queue asks. Raises Unavailable."""
        address = recipient.recipient.forward_path
        if entry.size > _MOST_OCTETS:
            return Outcome(address, Result.FAILED, "5.3.4", "A request for a certificate is not as long as that"), ()
        octets = await self.store.read(entry.content)
        name = f"{entry.queue_id}-{recipient.number}"
        when = _moment(now)
        letters = await self._work(lambda: by_mail.receive(octets, self.authority, str(address), when, name))
        sent = [await self._transaction(f"{name}-{number}", each, now) for number, each in enumerate(letters, 1)]
        self.log.event("enrolment", queue_id=entry.queue_id, letters=len(letters))
        made = tuple(each for each in sent if each is not None)
        return Outcome(address, Result.DELIVERED, "2.1.5", "Handed to the certification authority"), made

    async def run(self) -> None:
        """Tell what administrators decide, and have what is new published, until cancelled."""
        while True:
            try:
                await contain(self._look(), LetterlockError)
            except LetterlockError as fault:
                self.log.error("enrolment", problem=str(fault))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        now = self.clock.now()
        address, registry, when = self.address, self.authority.registry, _moment(now)
        if address is not None:
            for number, letter in await self._work(lambda: by_mail.decided(self.authority, str(address), when)):
                made = await self._transaction(f"registrar-{number}", letter, now)
                if made is not None:
                    await self.store.commit(made)
                await self._work(partial(registry.note_letter, number))
        version = await self._work(lambda: registry.version)
        if version != self._seen or self._list_now is None or when >= self._list_until:
            self._list_now = await self._work(lambda: self.authority.current_list(when))
            self._list_until = self._list_now.this_update + self.authority.settings.list_life / 2
        if version != self._seen:
            records = await self._work(registry.certificates)
            await self.published(tuple(each.certificate for each in records if each.revoked is None))
            self._seen = version

    async def _transaction(self, name: str, letter: Outgoing, now: Instant) -> Transaction | None:
        """Return a letter as it is queued, None for one to an address that is none."""
        assert self.address is not None  # letters are written from there
        try:
            recipient = Recipient(Address.parse(letter.recipient))
        except Malformed as fault:
            self.log.event("letter without an address", problem=fault.problem)
            return None
        octets = write_field("Message-ID", f"<{name}@{self.address.domain}>") + letter.message
        signature = await self.sign(self.address.domain, (octets,))
        queued = queue_entries(
            name,
            Envelope(None, (recipient,)),  # RFC 3834 section 3.3: nobody answers an automatic message
            [recipient],
            now=now,
            expires=now + self.expire_seconds,
            source=f"registrar {self.address}",
        )
        return Transaction(name, now, (signature, octets), queued=queued)

    def lists(self) -> tuple[RevocationList, ...]:
        """Return the revocation list that was in force when last looked at."""
        return () if self._list_now is None else (self._list_now,)

    def pages(self) -> Pages:
        """Return what is published over HTTP: the revocation list, the authority's certificate, OCSP answers."""
        return Pages({"/ca.crl": self._list, "/ca.cer": self._certificate}, {"/ocsp": self._ocsp})

    async def _list(self) -> Page:
        try:
            when = _moment(self.clock.now())
            self._list_now = await self._work(lambda: self.authority.current_list(when))
        except Unavailable as trouble:
            return Page(f"{trouble.problem}\n".encode(), status=503)
        return Page(self._list_now.octets, "application/pkix-crl")

    async def _certificate(self) -> Page:
        return Page(self.authority.authority.certificate.octets, "application/pkix-cert")

    async def _ocsp(self, asked: Asked) -> Page:
        octets = asked.body
        if octets is None:
            # RFC 6960 appendix A.1: GET with the request in base64, percent-encoded
            try:
                octets = binascii.a2b_base64(urllib.parse.unquote_to_bytes(asked.below))
            except binascii.Error:
                octets = b""
        request, when = octets, _moment(self.clock.now())
        try:
            answer = await self._work(lambda: self.authority.ocsp(request, when))
        except Unavailable:
            answer = TRY_LATER
        return Page(answer, "application/ocsp-response")


def _moment(now: Instant) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(now), datetime.UTC)
