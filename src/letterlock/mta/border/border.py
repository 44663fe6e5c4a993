"""The border defence of port 25: one object for all sessions, asked at each step of a session in its order.

    border.expect(host)                              at the connection: look-ups begin, nobody waits for them
    refusal = border.message_begun(host)             at MAIL: the network's rate
    standing = await border.standing(host, ehlo)     at the first RCPT: what is known of the client by now
    refusal = border.judge(standing, recipient)      at each RCPT: the client's points
    refusal = border.recipient_given(host)           ... and the network's rate
    border.recipient_unknown(host)                   who asks for many that are not there is slowed
    assessment = border.conclude(arrival, ...)       at the end: quarantine by points, greylisting

Refusals come at RCPT, where sender and recipient are in the log and where mail to postmaster and abuse still gets in: who
is listed by mistake must be able to say so (RFC 5321 section 4.5.1). Every refusal says in a sentence what was found and what
to do; all that rests on a rate, a look-up or the first meeting is transient, so no mail is lost by it.

Limits: 10,000 clients are remembered for five minutes, for half a minute where a look-up failed; look-ups are waited for ten
seconds, and what is not known by then does not count. A list is used while it passes its test, once an hour.
See also: mta/border/client.py (points), mta/border/lists.py, mta/border/greylist.py, host/notebook.py (what outlives a restart).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, replace

from letterlock.errors import Unavailable
from letterlock.formats.address import Address
from letterlock.host.allowance import Allowance
from letterlock.host.clock import Clock
from letterlock.host.drive_decisions import drive
from letterlock.host.drive_work import contain
from letterlock.host.ledger import Entry, Ledger
from letterlock.host.listen import ConnectionLimits
from letterlock.host.logs import Log
from letterlock.host.networks import Network, is_within
from letterlock.host.notebook import Book
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.arrival import Arrival, Assessment
from letterlock.mta.border.client import ClientFacts, Iprev, Standing, Weights, examine, judge
from letterlock.mta.border.greylist import Greylist
from letterlock.mta.border.lists import ListSettings, check_list
from letterlock.protocols.smtp.reply import Reply, reply

LEDGER_KIND = "client refused"
_NETWORKS = ConnectionLimits(ipv4_prefix=24, ipv6_prefix=64)
_MOST_CLIENTS = 10_000
_KNOWN_SECONDS = 300.0
_UNKNOWN_SECONDS = 30.0
_RATES = ("messages_per_hour", "recipients_per_hour", "unknown_recipients_per_hour")
_TEST_SECONDS = 3600.0
_TEST_AGAIN_SECONDS = 300.0
_ALWAYS_REACHED = frozenset({"postmaster", "abuse"})  # RFC 5321 section 4.5.1, RFC 2142


@dataclass(frozen=True, slots=True)
class BorderSettings:
    """What a site decides. Rates are per network (/24, /64) and hour; 0 is no limit.

    At `quarantine_at` points and more mail goes to the junk mailbox unless its author's domain vouches for it (DMARC), at
    `defer_at` it is asked to come again, at `reject_at` it is refused; None is never. Clients of `exempt` networks are
    not looked at.
    """

    own_names: frozenset[str] = frozenset()
    exempt: frozenset[Network] = frozenset()
    lists: tuple[ListSettings, ...] = ()
    weights: Weights = Weights()  # noqa: RUF009  # frozen
    quarantine_at: float | None = 5
    defer_at: float | None = None
    reject_at: float | None = 10
    junk_mailbox: str = "Junk"
    messages_per_hour: float = 5000
    recipients_per_hour: float = 20_000
    unknown_recipients_per_hour: float = 200
    look_up_seconds: float = 10


class Border:
    """The defence. `greylist` is None where nobody is greylisted; refused clients are noted in `ledger`."""

    def __init__(
        self,
        settings: BorderSettings,
        *,
        resolver: Resolver,
        clock: Clock,
        log: Log,
        greylist: Greylist | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._log = log
        self._greylist = greylist
        self._ledger = ledger
        self._messages = _hourly(clock, settings.messages_per_hour, "border messages")
        self._recipients = _hourly(clock, settings.recipients_per_hour, "border recipients")
        self._unknown = _hourly(clock, settings.unknown_recipients_per_hour, "border unknown recipients")
        self._lists: tuple[ListSettings, ...] = ()  # those that passed their test
        self._problems: dict[str, str] = {}
        self._tested = asyncio.Event()
        self._adopted = asyncio.Event()
        self._clients: OrderedDict[str, tuple[float, asyncio.Task[ClientFacts]]] = OrderedDict()
        self._standings: OrderedDict[tuple[str, str], tuple[float, Standing]] = OrderedDict()

    @property
    def books(self) -> tuple[Book, ...]:
        """What is to be kept over restarts."""
        rates = tuple(one for one in (self._messages, self._recipients, self._unknown) if one is not None)
        return (*rates, *(self._greylist.books if self._greylist is not None else ()))

    # Steps of a session.

    def expect(self, host: str) -> None:
        """Begin to look a client up."""
        if not self.is_exempt(host):
            self._facts(host)

    def message_begun(self, host: str) -> Reply | None:
        """Count a message; a reply where its network has sent too many."""
        return self._too_many("messages", self._take(self._messages, host))

    def recipient_given(self, host: str) -> Reply | None:
        """Count a recipient; a reply where its network has named too many, or too many that are not there."""
        if self._unknown is not None and (wait := self._unknown.wait_seconds(_NETWORKS.network(host))) > 0:
            return self._too_many("unknown recipients", wait)
        return self._too_many("recipients", self._take(self._recipients, host))

    def recipient_unknown(self, host: str) -> None:
        """Count a recipient that is not here."""
        self._take(self._unknown, host)

    async def standing(self, host: str, ehlo: str) -> Standing:
        """Return what is known of a client, after its look-ups or when they have taken too long."""
        if self.is_exempt(host):
            return Standing()
        now = self._clock.elapsed()
        kept = self._standings.get((host, ehlo))
        if kept is not None and now < kept[0]:
            return kept[1]
        judging = asyncio.ensure_future(self._judged(self._facts(host), ehlo))
        done, _ = await asyncio.wait({judging}, timeout=self._settings.look_up_seconds)
        if not done:
            judging.cancel()
            reason = f"what is known of {host} could not be looked up in time"
            return Standing(ClientFacts(host, Iprev.TEMPERROR, reason=reason, unknown=(reason,)))
        standing = judging.result()
        is_whole = standing.facts is not None and not standing.facts.unknown
        self._standings[host, ehlo] = now + (_KNOWN_SECONDS if is_whole else _UNKNOWN_SECONDS), standing
        if len(self._standings) > _MOST_CLIENTS:
            self._standings.popitem(last=False)
        return standing

    def judge(self, standing: Standing, recipient: Address) -> Reply | None:
        """Refuse or defer mail of a client with too many points, or return None."""
        if standing.points <= 0 or recipient.local_part.lower() in _ALWAYS_REACHED:
            return None
        answer = refusal_of(standing, self._settings, recipient.domain)
        if answer is not None:
            self._note(standing, recipient, answer)
        return answer

    def conclude(self, arrival: Arrival, assessment: Assessment, *, is_authentic: bool) -> Assessment:
        """Return what becomes of a message that nothing else refused. `is_authentic`: its author's domain vouches for it."""
        standing, settings = arrival.standing, self._settings
        if is_authentic or standing.facts is None:
            return assessment
        remarks = (*assessment.remarks, ("client_points", f"{standing.points:g}"))
        assessment = replace(assessment, remarks=remarks)
        if self._greylist is not None and not standing.is_vouched_for:
            wait = self._greylisted(self._greylist, arrival)
            if wait > 0:
                text = f"You are new here: send it again in {int(wait) + 1} seconds, and it will be taken"
                return replace(assessment, refusal=reply(451, "4.7.1", text))
        if settings.quarantine_at is not None and standing.points >= settings.quarantine_at:
            return replace(assessment, mailbox=assessment.mailbox or settings.junk_mailbox)
        return assessment

    def is_exempt(self, host: str) -> bool:
        """Tell whether a client is not looked at: of an exempt network, or without an IP address."""
        return not _NETWORKS.network(host) or is_within(host, self._settings.exempt)

    # The lists.

    async def run(self) -> None:
        """Test the lists now and then, until cancelled."""
        while True:
            self._adopted.clear()
            is_well = False
            try:
                await contain(self.check_lists())
                is_well = not self._problems
            except Unavailable as trouble:  # next time, perhaps; nobody waits for it
                self._log.error("lists not tested", problem=trouble.problem)
                self._tested.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TEST_SECONDS if is_well else _TEST_AGAIN_SECONDS):
                    await self._adopted.wait()

    def adopt(self, settings: BorderSettings) -> None:
        """Judge by other settings from now on; rates stay as they are. New lists are tested first."""
        rates = {name: getattr(self._settings, name) for name in _RATES}
        self._settings = replace(settings, **rates)
        self._clients.clear()
        self._standings.clear()
        self._tested.clear()
        self._adopted.set()

    async def check_lists(self) -> None:
        """Test every list; those that fail are not asked until they pass again."""
        lists = self._settings.lists
        problems = await asyncio.gather(*(drive(check_list(one), self._resolver) for one in lists))
        found = {one.zone: problem for one, problem in zip(lists, problems, strict=True) if problem}
        for zone, problem in found.items():
            if self._problems.get(zone) != problem:
                self._log.warning("list not used", list=zone, problem=problem)
        for zone in self._problems.keys() - found.keys():
            self._log.event("list used again", list=zone)
        self._problems = found
        self._lists = tuple(one for one in lists if one.zone not in found)
        self._tested.set()

    # Inside.

    def _facts(self, host: str) -> asyncio.Task[ClientFacts]:
        now = self._clock.elapsed()
        kept = self._clients.get(host)
        if kept is not None and now < kept[0]:
            return kept[1]
        task = asyncio.ensure_future(self._examined(host))
        self._clients[host] = now + _KNOWN_SECONDS, task
        self._clients.move_to_end(host)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return task

    async def _examined(self, host: str) -> ClientFacts:
        if self._settings.lists:
            await self._tested.wait()  # a moment at the start
        facts = await drive(examine(host, self._lists), self._resolver)
        if facts.unknown and (kept := self._clients.get(host)) is not None:
            self._clients[host] = self._clock.elapsed() + _UNKNOWN_SECONDS, kept[1]
        return facts

    async def _judged(self, examining: asyncio.Task[ClientFacts], ehlo: str) -> Standing:
        facts = await asyncio.shield(examining)  # who waits no longer does not keep it from the others
        settings = self._settings
        return await drive(judge(facts, ehlo, settings.own_names, settings.weights), self._resolver)

    def _take(self, rate: Allowance | None, host: str) -> float:
        return 0.0 if rate is None or self.is_exempt(host) else rate.take(_NETWORKS.network(host))

    def _too_many(self, what: str, wait: float) -> Reply | None:
        if wait <= 0:
            return None
        return reply(450, "4.7.1", f"Too many {what} from your network this hour: try again in {int(wait) + 1} seconds")

    def _greylisted(self, greylist: Greylist, arrival: Arrival) -> float:
        envelope = arrival.envelope
        recipients = sorted(str(one.forward_path) for one in envelope.recipients)
        if any(one.forward_path.local_part.lower() in _ALWAYS_REACHED for one in envelope.recipients):
            return 0.0
        return greylist.wait_seconds(arrival.client.host, str(envelope.reverse_path or ""), recipients[0])

    def _note(self, standing: Standing, recipient: Address, answer: Reply) -> None:
        facts = standing.facts
        if self._ledger is None or facts is None:
            return
        self._ledger.append(
            Entry(
                self._clock.now(),
                LEDGER_KIND,
                domain=recipient.domain,
                facts={
                    "client": facts.address,
                    "name": facts.name,
                    "points": standing.points,
                    "findings": [*standing.sentences],
                    "unknown": [*facts.unknown],
                    "reply": str(answer),
                },
            )
        )


def refusal_of(standing: Standing, settings: BorderSettings, domain: str) -> Reply | None:
    """Return the reply to a client with too many points, or None. `domain` is the recipient's."""
    points, reason = standing.points, standing.worst
    help_ = f"If that is wrong, write to postmaster@{domain}"
    if settings.reject_at is not None and points >= settings.reject_at:
        return reply(550, "5.7.1", f"Mail from you is not taken: {reason}. {help_}")
    if settings.defer_at is not None and points >= settings.defer_at:
        return reply(450, "4.7.1", f"Mail from you is not taken now: {reason}. Try again later. {help_}")
    return None


def _hourly(clock: Clock, per_hour: float, name: str) -> Allowance | None:
    return Allowance(clock, burst=per_hour, per_hour=per_hour, name=name) if per_hour > 0 else None
