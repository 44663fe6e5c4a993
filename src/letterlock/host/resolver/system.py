"""The resolver of a running system, from its settings: which back end, probed before it is believed.

    system = await open_resolver(ResolverSettings())
    answer = await system.resolver.ask(Question("rosewood.test", "MX"))
    await system.aclose()

Each forwarder is asked for the anchor's key set with DO and CD. One that strips signatures, or has no TCP, cannot feed a
validator: `findings` says so and it is not used; where no other is left we iterate from the root ourselves. That is never
turned into "everything is bogus". One that does not answer now may do so later, and is kept.

Standards: RFC 4035 section 4.9, RFC 6840 section 5.9, RFC 7766 section 5 (TCP is required).
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import PeerFault, SettingsFault
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns.types import Rcode
from letterlock.formats.dns.zone import DNSKEY, RRSIG
from letterlock.host.resolver import anchors as trust_anchors
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.forward import ForwardingResolver
from letterlock.host.resolver.iterate import ROOT_SERVERS, IterativeSource
from letterlock.host.resolver.keep_anchors import AnchorKeeper
from letterlock.host.resolver.source import ForwardSource, Source
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.protocols.dns import client

_PROBE_SECONDS = 3.0


class Mode(enum.Enum):
    """Where answers come from, and who validates them."""

    VALIDATE = "validate"  # through a forwarder, validated here
    TRUST_AD = "trust-ad"  # through a forwarder that validates, over a path that is safe
    ITERATE = "iterate"  # from the root servers, validated here


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """What a resolver needs.

    `servers` are forwarders as `Server.parse` reads them; without any, those of `resolv_conf`. `anchors` is a file of
    DS or DNSKEY records, by default the root's. `root_servers` and `port` say where iteration begins, and on which port
    all authoritative servers listen. With `anchor_state`, a file, the anchors follow their zones' keys (RFC 5011).
    """

    mode: Mode = Mode.VALIDATE
    servers: tuple[str, ...] = ()
    anchors: Path | None = None
    root_servers: tuple[str, ...] = ()
    port: int = 53
    anchor_state: Path | None = None
    resolv_conf: Path = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class SystemResolver:
    """An open resolver; `findings` are sentences about what was found wrong with the forwarder."""

    resolver: CachingResolver
    mode: Mode
    exchange: Exchange
    findings: tuple[str, ...] = ()
    keeper: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Close its connections."""
        if self.keeper is not None:
            self.keeper.cancel()
            await asyncio.gather(self.keeper, return_exceptions=True)
        await self.exchange.aclose()


async def open_resolver(settings: ResolverSettings, exchange: Exchange | None = None) -> SystemResolver:
    """Probe and return the resolver; raises SettingsFault, Malformed for anchors that are none."""
    exchange = exchange or Exchange()
    mode = settings.mode
    anchors = trust_anchors.load(settings.anchors) if settings.anchors else trust_anchors.root_anchors()
    findings: tuple[str, ...] = ()
    if mode is not Mode.ITERATE:
        servers = _servers(settings)
        if mode is Mode.TRUST_AD:
            upstream = Upstream(servers, exchange)
            return SystemResolver(CachingResolver(ForwardingResolver(upstream, trust_ad=True)), mode, exchange)
        found = await probe(servers, next(iter(anchors)), exchange)
        findings = tuple(probed.finding for probed in found if probed.finding)
        fit = tuple(probed.server for probed in found if probed.is_fit)
        if fit:
            source = ForwardSource(Upstream(fit, exchange))
            return _validating(source, anchors, settings, mode, exchange, findings)
        findings = findings or ("no forwarder is configured",)
    hints = tuple(Server.parse(text) for text in settings.root_servers) or ROOT_SERVERS
    walk = IterativeSource(exchange, hints, port=settings.port)
    return _validating(walk, anchors, settings, Mode.ITERATE, exchange, findings)


def _validating(
    source: Source,
    anchors: trust_anchors.Anchors,
    settings: ResolverSettings,
    mode: Mode,
    exchange: Exchange,
    findings: tuple[str, ...],
) -> SystemResolver:
    task = None
    if settings.anchor_state is not None:
        keeper = AnchorKeeper(source, anchors, settings.anchor_state)
        anchors = keeper.anchors
        task = asyncio.create_task(keeper.run())
    return SystemResolver(CachingResolver(ValidatingResolver(source, anchors)), mode, exchange, findings, task)


def _servers(settings: ResolverSettings) -> tuple[Server, ...]:
    try:
        if settings.servers:
            return tuple(Server.parse(text) for text in settings.servers)
    except ValueError as error:
        raise SettingsFault((f"dns.servers: {error}; write addresses, as in 192.0.2.1 or [2001:db8::1]:53",)) from None
    return read_resolv_conf(settings.resolv_conf)


def read_resolv_conf(path: Path) -> tuple[Server, ...]:
    """Return the name servers of a resolv.conf; none where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(Server.parse(words[1] if ":" not in words[1] else f"[{words[1].partition('%')[0]}]"))
            except ValueError:
                continue
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a forwarder showed: a sentence on what is wrong with it, and whether it may be used all the same."""

    server: Server
    finding: str = ""
    is_fit: bool = True


async def probe(servers: tuple[Server, ...], anchor: bytes, exchange: Exchange) -> tuple[Probed, ...]:
    """Return whether each of the forwarders can feed a validator with trust anchor `anchor`."""
    return tuple(await asyncio.gather(*(_probe_one(server, anchor, exchange) for server in servers)))


async def _probe_one(server: Server, anchor: bytes, exchange: Exchange) -> Probed:
    query = client.query(0, anchor, DNSKEY, flags=messages.RD | messages.CD)
    zone = names.to_text(anchor) or "the root"
    for tcp in (False, True):
        way = "TCP" if tcp else "UDP"
        try:
            response = await exchange.ask(server, query, _PROBE_SECONDS, tcp=tcp)
        except PeerFault as fault:
            # It answered over UDP, and TCP is what it lacks: RFC 7766 section 5 requires it.
            return Probed(server, f"{fault.problem} (asked over {way} for the keys of {zone})", is_fit=not tcp)
        if response.rcode == Rcode.SERVFAIL:
            return Probed(server, f"{server} cannot look up the keys of {zone} now")
        present = {record.type for record in response.answer}
        if DNSKEY not in present:
            return Probed(server, f"{server} does not know the keys of {zone}", is_fit=False)
        if RRSIG not in present:
            return Probed(server, f"{server} strips signatures", is_fit=False)
    return Probed(server)
