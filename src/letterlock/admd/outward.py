"""What a domain's settings say of the way out: the resolver, the routes, whom we trust, and what sends.

See also: admd/run.py (the running domain), cli/delivery.py (the same way, tried without sending).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

from letterlock.admd.sections import Route
from letterlock.admd.settings import Settings
from letterlock.admd.values import split_endpoint, split_host
from letterlock.errors import PeerFault, SettingsFault
from letterlock.formats.mta_sts import LONGEST_POLICY
from letterlock.host import https
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.https import Fetch
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.own_addresses import is_own_address
from letterlock.host.resolver.interface import Resolver
from letterlock.host.resolver.system import Mode, ResolverSettings
from letterlock.host.stream import Endpoint
from letterlock.host.tls import authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import Exchangers, Refusal, Relay, RoutingSettings, Way
from letterlock.mta.sts_policies import StsPolicies
from letterlock.mta.tls_results import LedgerRecord
from letterlock.postmaster.send import Post

_LONGEST_ANSWER = 65_536
_POLICIES_NAME = "mta-sts.sqlite"


def resolver_settings(settings: Settings) -> ResolverSettings:
    """Return how names are looked up."""
    dns = settings.dns
    return ResolverSettings(
        Mode(dns.mode),
        servers=tuple(dns.servers),
        anchors=settings.path(dns.anchors) if dns.anchors else None,
        anchor_state=settings.path(settings.data) / "anchors.json",
        root_servers=tuple(dns.root_servers),
        port=dns.port,
    )


def routing_settings(settings: Settings) -> RoutingSettings:
    """Return how hosts are found. Raises SettingsFault."""
    transfer = settings.transfer
    return RoutingSettings(
        frozenset({settings.host_name}),
        port=transfer.port,
        ports=transfer.ports,
        ways=_ways(settings),
        is_ours=_is_ours(settings),
    )


def _is_ours(settings: Settings) -> Callable[[Endpoint], bool]:
    """Return what tells of an exchanger's address whether mail sent there would come back to us."""
    listening = [Endpoint(*split_endpoint(text)) for text in settings.listen.smtp]
    public = {Endpoint(address, settings.transfer.port) for address in settings.publish.addresses}
    anywhere = {one.port for one in listening if one.host in ("", "0.0.0.0", "::")}  # noqa: S104 - compared, not bound
    # Who listens on loopback only is in a laboratory, where everybody is at such addresses.
    is_laboratory = bool(listening) and all(ipaddress.ip_address(one.host).is_loopback for one in listening)

    def is_ours(endpoint: Endpoint) -> bool:
        if endpoint in public or endpoint in listening:
            return True
        if is_laboratory:
            return False
        return _is_inside(endpoint.host) or (endpoint.port in anywhere and is_own_address(endpoint.host))

    return is_ours


def _is_inside(address: str) -> bool:
    """Tell whether no other machine can be meant by an address."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any(one.is_loopback or one.is_unspecified or one.is_multicast for one in (parsed, mapped) if one is not None)


def _ways(settings: Settings) -> dict[str, Way]:
    transfer = settings.transfer
    ways: dict[str, Way] = {}
    if transfer.relay:
        host, port = split_host(transfer.relay)
        password = _password(settings, transfer.relay_password, "transfer.relay_password")
        ways["*"] = Relay(host, port or 25, transfer.relay_user, password, implicit_tls=port == 465)
    for number, route in enumerate(transfer.routes):
        way = _way(route, _password(settings, route.password, f"transfer.routes.{number}.password"))
        ways |= dict.fromkeys(route.domains, way)
    return ways


def _way(route: Route, password: str) -> Way:
    """Return what a target says; its form was checked with the settings."""
    kind, _, place = route.to.partition(":")
    if kind == "mx":
        return Exchangers()
    if kind == "refuse":
        return Refusal(place.strip())
    if place.startswith("unix:"):
        return Relay(place.removeprefix("unix:"), 0, is_lmtp=True)
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    return Relay(
        (host if colon else place).removeprefix("[").removesuffix("]"),
        int(port) if colon else 465 if kind == "smtps" else 25,
        route.user,
        password,
        implicit_tls=kind == "smtps",
        is_lmtp=kind == "lmtp",
    )


def _password(settings: Settings, path: Path | None, key: str) -> str:
    if path is None:
        return ""
    file = settings.path(path)
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsFault((f"{key} = {str(file)!r}: cannot be read: {error}",)) from None


def demands(settings: Settings, resolver: Resolver, clock: Clock, *, keep: bool) -> tuple[Demands, StsPolicies]:
    """Return what decides about TLS, and the policies it decides by; with `keep` these are kept over restarts.

    Raises SettingsFault.
    """
    authenticated = _authenticated(settings)
    policies = StsPolicies(
        Fetch(resolver, authenticated, LONGEST_POLICY),
        clock=clock,
        log=Log("mta"),
        file=settings.path(settings.data) / _POLICIES_NAME if keep else None,
    )
    return Demands(clock=clock, authenticated=authenticated, policies=policies), policies


def _authenticated(settings: Settings) -> ssl.SSLContext:
    trusted = settings.path(settings.tls.trusted) if settings.tls.trusted else None
    try:
        return authenticated_client(trusted, beside_system=True)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsFault((f"tls.trusted = '{trusted}': no certificates can be read: {error}",)) from None


def poster(settings: Settings, resolver: Resolver, log: Log) -> Post:
    """Return what posts reports to https URIs and tells whether they were taken."""

    async def post(uri: str, octets: bytes, media_type: str) -> bool:
        try:
            # Whom we trust is read for each: few ask for reports by https, and few of them in an hour.
            await https.post(uri, octets, media_type, Fetch(resolver, _authenticated(settings), _LONGEST_ANSWER))
        except PeerFault as fault:
            log.warning("report not posted", uri=uri, problem=fault.problem)
            return False
        except SettingsFault as fault:
            log.error("report not posted", uri=uri, problem=str(fault))
            return False
        return True

    return post


def outbound_settings(settings: Settings) -> OutboundSettings:
    """Return how mail is sent. Raises SettingsFault."""
    transfer = settings.transfer
    return OutboundSettings(
        settings.host_name,
        routing_settings(settings),
        local_address=transfer.source_address or None,
        memory_seconds=peace_seconds(settings),
    )


def peace_seconds(settings: Settings) -> float:
    """Return how long what does not answer is left in peace: never longer than until the second attempt."""
    return min(60.0, settings.transfer.retry_first_seconds)


def outbound(settings: Settings, resolver: Resolver, ledger: Ledger, clock: Clock, entropy: Entropy) -> Outbound:
    """Return what sends. Raises SettingsFault."""
    return Outbound(
        outbound_settings(settings),
        resolver=resolver,
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
        demand=demands(settings, resolver, clock, keep=True)[0],
        record=LedgerRecord(ledger, clock),
    )
