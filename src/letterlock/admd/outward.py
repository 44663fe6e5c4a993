"""What a domain's settings say of the way out: the resolver, the routes, whom we trust, and what sends.

See also: admd/run.py (the running domain), cli/delivery.py (the same way, tried without sending).
"""

from __future__ import annotations

import ssl

from letterlock.admd.settings import Settings
from letterlock.errors import PeerFault, SettingsFault
from letterlock.formats.mta_sts import LONGEST_POLICY
from letterlock.host import https
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.https import Fetch
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.resolver.system import Mode, ResolverSettings
from letterlock.host.tls import authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import Relay, RoutingSettings, Way
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
        frozenset({settings.host_name}), port=transfer.port, ports=transfer.ports, ways=_ways(settings)
    )


def _ways(settings: Settings) -> dict[str, Way]:
    transfer = settings.transfer
    if not transfer.relay:
        return {}
    host, _, port = transfer.relay.partition(":")
    password = ""
    if transfer.relay_password is not None:
        file = settings.path(transfer.relay_password)
        try:
            password = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsFault((f"transfer.relay_password = {str(file)!r}: cannot be read: {error}",)) from None
    return {"*": Relay(host, int(port or 25), transfer.relay_user, password, implicit_tls=port == "465")}


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
    """Return what posts reports to https URIs and tells whether they were taken. Raises SettingsFault."""
    how = Fetch(resolver, _authenticated(settings), _LONGEST_ANSWER)

    async def post(uri: str, octets: bytes, media_type: str) -> bool:
        try:
            await https.post(uri, octets, media_type, how)
        except PeerFault as fault:
            log.warning("report not posted", uri=uri, problem=fault.problem)
            return False
        return True

    return post


def outbound(settings: Settings, resolver: Resolver, ledger: Ledger, clock: Clock, entropy: Entropy) -> Outbound:
    """Return what sends. Raises SettingsFault."""
    return Outbound(
        OutboundSettings(
            settings.host_name, routing_settings(settings), local_address=settings.transfer.source_address or None
        ),
        resolver=resolver,
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
        demand=demands(settings, resolver, clock, keep=True)[0],
        record=LedgerRecord(ledger, clock),
    )
