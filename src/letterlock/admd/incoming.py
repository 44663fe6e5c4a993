"""The way in as a domain's settings describe it: who listens, port 25's service, and what its decisions are told.

The main process and the workers (admd/worker.py) build theirs from the same parts here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from letterlock.admd import outward
from letterlock.admd.border import border_settings
from letterlock.admd.filters import Filters, filters_of
from letterlock.admd.settings import Settings
from letterlock.admd.signing import Signer
from letterlock.admd.smime import service_addresses
from letterlock.admd.smime_files import smime_anchors
from letterlock.host.clock import Clock
from letterlock.host.drive_sessions import Session
from letterlock.host.entropy import Entropy
from letterlock.host.listen import Admission, ConnectionLimits, Listener
from letterlock.host.logs import Log
from letterlock.host.networks import Network
from letterlock.host.resolver.system import SystemResolver, open_resolver
from letterlock.host.tls import ServerTls
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import ResolveSettings
from letterlock.mta.arrival import Gate, Recipients
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.border.border import Border
from letterlock.mta.filters import Filtered
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.interface import Intake
from letterlock.trust.dmarc import Policy

LEDGER_NAME = "ledger.sqlite"

_TLS_FROM_THE_START = frozenset({"submissions", "imaps", "pop3s"})
_NEARBY = frozenset({"lmtp"})  # never behind a load balancer
_TOO_MANY = b"421 4.7.0 Too many connections: try again later\r\n"
_REFUSALS = {
    "smtp": _TOO_MANY,
    "lmtp": _TOO_MANY,
    "submission": _TOO_MANY,
    "submissions": _TOO_MANY,
    "imap": b"* BYE [UNAVAILABLE] Too many connections\r\n",
    "imaps": b"* BYE [UNAVAILABLE] Too many connections\r\n",
    "pop3": b"-ERR [SYS/TEMP] Too many connections\r\n",
    "pop3s": b"-ERR [SYS/TEMP] Too many connections\r\n",
}


def listener_for(
    service: str, session: Session, settings: Settings, admission: Admission | None, *, tls: ServerTls
) -> Listener:
    """Return the listener of a service; `tls` is for those that begin with a handshake."""
    nearby = service in _NEARBY
    return Listener(
        session,
        log=Log(service),
        tls=tls if service in _TLS_FROM_THE_START else None,
        limits=connection_limits(settings),
        refusal=_REFUSALS[service],
        proxies=() if nearby else tuple(map(ipaddress.ip_network, settings.limits.proxies)),
        admission=None if nearby else admission,
    )


def inbound_service(
    settings: Settings,
    *,
    store: Intake,
    recipients: Recipients,
    tls: ServerTls,
    assessor: Assessor,
    filters: Filters,
    border: Border,
    signer: Signer,
    clock: Clock,
    entropy: Entropy,
    gate: Gate | None = None,
) -> Inbound:
    """Return port 25's service."""
    limits = settings.limits
    return Inbound(
        InboundSettings(
            settings.host_name,
            size_limit=limits.message_octets,
            recipient_limit=limits.recipients,
            expire_seconds=settings.transfer.expire_after_seconds,
            no_soliciting=tuple(settings.assess.no_soliciting),
            trusted_proxies=trusted_proxies(settings),
        ),
        store=store,
        recipients=recipients,
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
        tls=tls,
        assess=Filtered(assessor, filters.inbound, settings.assess.junk_mailbox),
        judge_sender=assessor.sender,
        examine=assessor.examine,
        seal=signer.seal if settings.assess.seal_forwarded else None,
        border=border,
        gate=gate,
    )


def trusted_proxies(settings: Settings) -> tuple[Network, ...]:
    """Return who may say for whom they speak (XCLIENT)."""
    return tuple(ipaddress.ip_network(network) for network in settings.limits.xclient)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return how many connections a service lets stand."""
    return ConnectionLimits(settings.limits.connections, settings.limits.connections_per_network)


def resolve_settings(settings: Settings) -> ResolveSettings:
    """Return how recipients are found."""
    return ResolveSettings(
        settings.local_domains, settings.delivery.sub_address_separator, services=service_addresses(settings)
    )


def assess_settings(settings: Settings) -> AssessSettings:
    """Return how arriving mail is judged. Raises SettingsFault."""
    return AssessSettings(
        settings.host_name,
        junk_mailbox=settings.assess.junk_mailbox,
        honours_reject=settings.assess.honour_reject,
        smime_anchors=smime_anchors(settings),
        spf_fail=Policy(settings.assess.spf_fail),
        trusted_forwarders=tuple(map(ipaddress.ip_network, settings.assess.trusted_forwarders)),
        trusted_sealers=tuple(settings.assess.trusted_sealers),
    )


def prepare_incoming(
    border: Border,
    filters: Filters,
    assessor: Assessor,
    agent: DeliveryAgent,
    listeners: Mapping[str, Listener],
    settings: Settings,
) -> Callable[[], None]:
    """Return what takes up the settings of assessing, delivering and letting in. Raises SettingsFault."""
    assess, resolve = assess_settings(settings), resolve_settings(settings)
    at_border, wanted = border_settings(settings), filters_of(settings)

    def take_up() -> None:
        border.adopt(at_border)
        filters.adopt(wanted)
        assessor.settings = assess
        agent.resolver.settings = resolve
        for listener in listeners.values():
            listener.adopt(connection_limits(settings))

    return take_up


async def system_resolver(settings: Settings, log: Log) -> SystemResolver:
    """Open the resolver, and say what was found of it."""
    resolver = await open_resolver(outward.resolver_settings(settings))
    for finding in resolver.findings:
        log.warning("resolver", problem=finding)
    return resolver
