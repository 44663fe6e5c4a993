"""A mail list of the domain: what comes to its address goes on to the members, signed by the list, each message once.

The queue asks (gateway/programs.py): the copies are queued in the same change that ends the list's own recipient, so that a
crash neither loses an expansion nor repeats it. Bounces of members go to the owner, who is the reverse path. A message that was
encrypted to the list is encrypted anew to the members whose certificates are known; the owner is told of the others.

Where the author's domain asks others to refuse what passed through strange hands, From becomes the list's and Reply-To the
author's: else the members' servers would have to refuse it.

Standards: RFC 2634 section 4 (expansion, loops, receipts), RFC 5321 section 3.9.2 (lists), RFC 2369 and 2919 (list fields),
RFC 3834 section 2 (automatic answers), RFC 3463 section 3.8 (5.7.2), RFC 9989 section 5.3 (why From is rewritten).
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

from letterlock.errors import Malformed, NotAuthentic, OurFault, Unavailable
from letterlock.formats.address import Address
from letterlock.formats.cms.ess.expansion import PolicyKind, ReceiptPolicy
from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.formats.imf.addresses import Mailbox, parse_addresses
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.imf.write import write_field
from letterlock.formats.mime.build import Text, build
from letterlock.formats.outcome import Outcome, Result
from letterlock.formats.x509.name import GeneralName
from letterlock.gateway.domain_keys import DomainKeys, authors_of
from letterlock.gateway.label_book import LabelBook
from letterlock.gateway.workshop import Workshop
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.mla.expand import Expanded, MailList, Refused, expand
from letterlock.mta.assess_smime import may_be_signed
from letterlock.mta.inbound import queue_entries
from letterlock.mta.queue.local import Served
from letterlock.store.interface import Instant, QueuedRecipient, QueueEntry, Store, Transaction
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.unwrap import EncryptedLayer, Unwrapped, unwrap

POSTERS = ("anyone", "members", "signed-members")
_KINDS = {"none": PolicyKind.NONE, "owner": PolicyKind.INSTEAD_OF, "also-owner": PolicyKind.IN_ADDITION_TO}
_MOST_NAMED = 100
MOST_TOGETHER = 500  # members one encrypted message is for; readers bear 1,024, and each learns of the others
# Fields of the way here, and of lists on it, that say nothing true of what goes on.
_LEFT_OUT = frozenset(
    {"dkim-signature", "return-path", "delivered-to", "list-id", "list-post", "list-owner", "precedence"}
)


@dataclass(frozen=True, slots=True)
class ListSettings:
    """A list: `members` is asked each time; `receipts` and `rewrites` as letterlock.toml has them."""

    address: Address
    owner: Address
    members: Callable[[], tuple[Address, ...]]
    posters: str = "members"
    receipts: str = ""
    rewrites: str = "when-needed"


@dataclass(frozen=True, slots=True)
class ListSurroundings:
    """What a list needs of the domain.

    `sign` puts DKIM signatures before a message of a domain, `demands` tells whether a domain asks others to refuse mail
    that is not its own (DMARC), `is_ours` whether a domain is served here.
    """

    keys: DomainKeys
    workshop: Workshop
    store: Store
    sign: Callable[[str, tuple[bytes, ...]], Awaitable[bytes]]
    demands: Callable[[str], Awaitable[bool]]
    is_ours: Callable[[str], bool]
    entropy: Entropy
    log: Log
    expire_seconds: float = 432_000
    labels: LabelBook = field(default_factory=LabelBook)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A message as it goes to some members."""

    message: bytes
    recipients: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """What goes out, and the members it cannot go to, each with the reason."""

    copies: tuple[_Copy, ...]
    left_out: tuple[tuple[Address, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ListProgram:
    """One list, as the queue asks it."""

    settings: ListSettings
    around: ListSurroundings

    async def serve(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served:
        """Expand a message for the members, or say why not. Raises Unavailable."""
        octets = await self.around.store.read(entry.content)
        header = read_header(octets)
        when = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
        made = await self._expanded(entry, octets, header, when)
        address = recipient.recipient.forward_path
        if isinstance(made, Outcome):
            self.around.log.event("not expanded", queue_id=entry.queue_id, list=str(address), reason=made.reply)
            return made, ()
        name = f"{entry.queue_id}-{recipient.number}"
        copies = [
            await self._transaction(f"{name}-x{number}", entry, now, copy) for number, copy in enumerate(made.copies, 1)
        ]
        told = await self._told(f"{name}-o", entry, header, made, when)
        self.around.log.event(
            "expanded",
            queue_id=entry.queue_id,
            list=str(address),
            members=sum(len(copy.recipients) for copy in made.copies),
            left_out=len(made.left_out),
        )
        return Outcome(address, Result.DELIVERED, "2.1.5", "Expanded for the list's members"), (*copies, *told)

    async def _expanded(
        self, entry: QueueEntry, octets: bytes, header: Header, when: datetime.datetime
    ) -> _Made | Outcome:
        settings = self.settings
        if entry.envelope.reverse_path is None or _is_answer(header):
            return self._refused("5.7.2", "The list takes no reports and automatic answers")  # RFC 3834 section 2
        if any(
            each.text.rpartition("<")[2].rstrip("> ") == _list_id(settings.address)
            for each in header.get_all("list-id")
        ):
            return self._refused("5.4.6", f"The message came through {settings.address} before")
        members = settings.members()
        refusal = await self._judged(octets, header, members, when)
        if refusal:
            return self._refused("5.7.2", refusal)
        # Where nothing is encrypted to anybody, no certificates are asked for.
        is_encrypted = may_be_signed(header) and await self.around.workshop.run(lambda: _is_encrypted(octets))
        to, lacking = await self._certified(members, when) if is_encrypted else ({}, {})
        prepared = await self._prepared(octets, header)
        first = await self._expand(prepared, dict(islice(to.items(), MOST_TOGETHER)), when)
        if isinstance(first, Refused):
            if first.loop:
                self.around.log.error("list loop", list=str(settings.address), queue_id=entry.queue_id)
            return self._refused("5.4.6" if first.loop else "5.7.5", f"Not expanded: {first.reason}")
        if not first.encrypted:
            return _Made((_Copy(first.message, members),))
        copies = [_addressed(first)]
        for start in range(MOST_TOGETHER, len(to), MOST_TOGETHER):
            more = await self._expand(prepared, dict(islice(to.items(), start, start + MOST_TOGETHER)), when)
            if isinstance(more, Refused):
                return self._refused("5.7.5", f"Not expanded: {more.reason}")
            copies.append(_addressed(more))
        return _Made(tuple(copies), tuple(lacking.items()))

    async def _expand(self, prepared: bytes, to: dict[str, To], when: datetime.datetime) -> Expanded | Refused:
        """Expand for some members, in a thread. Raises Unavailable where the list has no usable keys: its mail waits."""
        address, token = str(self.settings.address), self.around.entropy.octets(12).hex()
        try:
            make_signer, make_ring = self.around.keys.signer(address, when), self.around.keys.ring((address,))

            def made() -> Expanded | Refused:
                own = MailList(address, make_ring(), make_signer(), to, self._receipts(), self.around.labels.policies)
                return expand(prepared, own, when, token)

            return await self.around.workshop.run(made)
        except (OurFault, NotAuthentic) as fault:
            raise Unavailable(f"the list {address} cannot sign: {fault}") from None

    def _refused(self, status: str, reply: str) -> Outcome:
        return Outcome(self.settings.address, Result.FAILED, status, reply)

    async def _judged(
        self, octets: bytes, header: Header, members: tuple[Address, ...], when: datetime.datetime
    ) -> str:
        """Return why a message is not for the list, or nothing where it is."""
        if self.settings.posters == "anyone":
            return ""
        known = {_folded(str(each)) for each in (*members, self.settings.owner)}
        if not any(_folded(author) in known for author in authors_of(header)):
            return f"Only members may write to {self.settings.address}"
        if self.settings.posters == "members":
            return ""
        make_ring, trust = self.around.keys.ring((str(self.settings.address),)), self.around.keys.trust(header, when)
        unwrapped = await self.around.workshop.run(lambda: unwrap(octets, make_ring(), trust.certificates))
        known_now = await self.around.keys.inquiry.complete(unwrapped, trust)
        proved = await self.around.workshop.run(lambda: _proved_author(header, unwrapped, known_now))
        if proved is None or _folded(proved) not in known:
            return f"Only what a member signed is taken for {self.settings.address}"
        return ""

    async def _certified(
        self, members: tuple[Address, ...], when: datetime.datetime
    ) -> tuple[dict[str, To], dict[Address, str]]:
        """Return the members one can encrypt to, and of the others why not."""
        to: dict[str, To] = {}
        lacking: dict[Address, str] = {}
        about = await self.around.keys.about(tuple(map(str, members)), when)
        for member in members:
            await asyncio.sleep(0)  # validating a path takes a while, and other sessions have their turn between
            try:
                to[str(member)] = To(self.around.keys.recipient(str(member), when, about).certificate)
            except OurFault as fault:
                lacking[member] = str(fault)
        return to, lacking

    def _receipts(self) -> ReceiptPolicy | None:
        kind = _KINDS.get(self.settings.receipts)
        if kind is None:
            return None
        names = () if kind is PolicyKind.NONE else ((GeneralName.email(str(self.settings.owner)),),)
        return ReceiptPolicy(kind, names)

    async def _prepared(self, octets: bytes, header: Header) -> bytes:
        """Return the message with the list's fields, and its From rewritten where that is needed."""
        address = self.settings.address
        rewrites = await self._rewrites(header)
        left_out = _LEFT_OUT | ({"from", "reply-to"} if rewrites else frozenset())
        kept = [each.raw for each in header if each.name.lower() not in left_out]
        added = [
            write_field("List-Id", f"<{_list_id(address)}>"),
            write_field("List-Post", f"<mailto:{address}>"),
            write_field("List-Owner", f"<mailto:{self.settings.owner}>"),
            write_field("Precedence", "list"),
        ]
        if rewrites:
            authors = [box for each in header.get_all("from") for box in parse_addresses(each.text).mailboxes]
            who = authors[0].display_name or authors[0].address if authors else "somebody"
            added.append(write_field("From", str(Mailbox(f"{who} via {address.local_part}", *_parts(address)))))
            answers = [each.text for each in header.get_all("reply-to")] or [str(box) for box in authors]
            added += [write_field("Reply-To", ", ".join(answers))] if answers else []
        return b"".join((*kept, *added, b"\r\n", octets[header.body_start :]))

    async def _rewrites(self, header: Header) -> bool:
        match self.settings.rewrites:
            case "never":
                return False
            case "always":
                return True
            case _:
                domain = _domain_of(header)
                return bool(domain) and not self.around.is_ours(domain) and await self.around.demands(domain)

    async def _transaction(self, name: str, entry: QueueEntry, now: Instant, copy: _Copy) -> Transaction:
        signature = await self.around.sign(_domain_of(read_header(copy.message)), (copy.message,))
        octets = (signature, copy.message)
        body = Body.SEVEN_BIT if all(map(bytes.isascii, octets)) else Body.EIGHT_BIT
        given = tuple(map(Recipient, copy.recipients))
        before = entry.envelope
        smtputf8 = before.smtputf8 or any(each.needs_smtputf8 for each in copy.recipients)
        envelope = Envelope(self.settings.owner, given, body, smtputf8, before.require_tls)
        expires = now + self.around.expire_seconds
        source = f"list {self.settings.address}"
        queued = queue_entries(name, envelope, list(given), now=now, expires=expires, source=source)
        return Transaction(name, now, octets, queued=queued)

    async def _told(
        self, name: str, entry: QueueEntry, header: Header, made: _Made, when: datetime.datetime
    ) -> tuple[Transaction, ...]:
        """Return the message that tells the owner of members a message could not go to."""
        if not made.left_out:
            return ()
        settings = self.settings
        lines = [f"{member}: {reason}" for member, reason in made.left_out[:_MOST_NAMED]]
        more = len(made.left_out) - len(lines)
        text = (
            f"A message to {settings.address} was encrypted and could not go to these members:\n\n"
            + "\n".join(lines)
            + (f"\nand {more} more" if more else "")
            + f"\n\nIts Message-ID is {header.text('message-id')[:200]}, its author {header.text('from')[:200]}.\n"
        )
        fields = [
            ("From", str(settings.address)),
            ("To", str(settings.owner)),
            ("Subject", f"Members of {settings.address} without a usable certificate"),
            ("Date", write_date(when)),
            ("Message-ID", f"<{name}@{settings.address.domain}>"),
            ("Auto-Submitted", "auto-generated"),
        ]
        octets = build(Text(text), fields, token=self.around.entropy.octets(12).hex())
        signature = await self.around.sign(settings.address.domain, (octets,))
        now = when.timestamp()
        envelope = Envelope(None, (Recipient(settings.owner),))
        expires = now + self.around.expire_seconds
        queued = queue_entries(
            name, envelope, [*envelope.recipients], now=now, expires=expires, source=f"list {settings.address}"
        )
        return (Transaction(name, now, (signature, octets), queued=queued),)


def _addressed(expanded: Expanded) -> _Copy:
    return _Copy(expanded.message, tuple(map(Address.parse, expanded.recipients)))


def _proved_author(header: Header, unwrapped: Unwrapped, trust: Trust) -> str | None:
    """Return the address whose holder signed the message, if that is proved; in a thread."""
    proof = prove(header, unwrapped, trust)
    return next((each.address for each in proof.signers if each.good), None) if proof.good else None


def _is_encrypted(octets: bytes) -> bool:
    """Tell whether a message is encrypted, perhaps inside signatures; in a thread."""
    return any(isinstance(layer, EncryptedLayer) for layer in unwrap(octets).layers)


def _is_answer(header: Header) -> bool:
    """Tell whether a program answers (RFC 3834 section 5)."""
    return header.text("auto-submitted").split(";")[0].strip().lower() in ("auto-replied", "auto-notified")


def _list_id(address: Address) -> str:
    # RFC 2919 section 2: a name in the style of a domain
    return f"{address.local_part}.{address.domain}"


def _parts(address: Address) -> tuple[str, str]:
    return address.local_part, address.domain


def _folded(address: str) -> str:
    return comparable(address).casefold()


def _domain_of(header: Header) -> str:
    """Return the domain of the first author, or nothing."""
    for author in authors_of(header):
        try:
            return Address.parse(author).domain
        except Malformed:
            continue
    return ""
