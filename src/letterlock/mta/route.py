"""Where mail for a domain goes next: a decision over DNS answers and the administrator's own routes.

    route = await drive(find_route("harbor.test", settings, entropy), resolver)

The administrator's own ways come first: a host that takes a domain's mail in place of its exchangers (over SMTP or LMTP),
or a refusal. The exchangers of a domain come by preference, those of equal preference in an order nobody can foretell;
where we are one of them, by name or by address, only those preferred to us are left, so that mail does not go in circles.
What each host's TLS must show comes from trust/dane. Address literals are not routed.

Standards: RFC 5321 section 5.1 (MX, implicit MX, order, loops), RFC 7505 (null MX), RFC 7672 (DANE), RFC 8305
section 4 (both families in turn), RFC 3463 (status codes).
See also: trust/dane/plan.py (the look-ups), mta/outbound.py (what is done with a route).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, zip_longest

from letterlock.formats.dns.question import Security
from letterlock.formats.outcome import Result
from letterlock.host.entropy import Entropy
from letterlock.host.stream import Endpoint
from letterlock.trust.ask import Decision
from letterlock.trust.dane.plan import Fate, Host, Plan, Requirement, plan_delivery, plan_host


@dataclass(frozen=True, slots=True)
class Relay:
    """A host the administrator named in place of MX, or with `is_lmtp` the path of a Unix socket.

    With `user` we authenticate; `implicit_tls` is port 465's way.
    """

    host_name: str
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    implicit_tls: bool = False
    is_lmtp: bool = False


@dataclass(frozen=True, slots=True)
class Exchangers:
    """The way of the DNS, said expressly: for a domain that a wider rule would send elsewhere."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No way: mail for the domain is returned for this reason."""

    reason: str


Way = Relay | Exchangers | Refusal


def _nothing_is_ours(_endpoint: Endpoint) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """`our_names` are the host names that are ourselves; `ports` replaces `port` for hosts named in it.

    `ways` are by recipient domain, "*.example.test" for those below it, "*" for every other. `is_ours` tells of an address
    and port whether we answer there ourselves, or nobody else's mail could be meant for it.
    """

    our_names: frozenset[str]
    port: int = 25
    ports: Mapping[str, int] = field(default_factory=dict)
    ways: Mapping[str, Way] = field(default_factory=dict)
    is_ours: Callable[[Endpoint], bool] = _nothing_is_ours

    def way(self, domain: str) -> Way:
        """Return the way the administrator set for a domain: its own, that of the nearest domain above it, or "*"."""
        if not self.ways:
            return Exchangers()
        way, above = self.ways.get(domain), domain
        while way is None and above:
            above = above.partition(".")[2]
            way = self.ways.get(f"*.{above}" if above else "*")
        return way or Exchangers()


@dataclass(frozen=True, slots=True)
class Hop:
    """One host to try, with where it listens; `relay` is set where the administrator named it.

    `is_name_secure` says that the host's name comes from signed DNS, or from the administrator.
    """

    host: Host
    endpoints: tuple[Endpoint, ...]
    relay: Relay | None = None
    is_name_secure: bool = False


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why there is nowhere to go: for now (DEFERRED) or for good (FAILED)."""

    result: Result
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """The hosts to try in order, or what hinders; `unproved` hosts are left out for want of their TLSA records."""

    domain: str
    hops: tuple[Hop, ...] = ()
    hindrance: Hindrance | None = None
    mx_security: Security = Security.INDETERMINATE
    unproved: tuple[str, ...] = ()


def find_route(domain: str, settings: RoutingSettings, entropy: Entropy, *, override: str = "") -> Decision[Route]:
    """Return the route for a recipient domain; `override` ("host" or "host:port") takes the place of MX."""
    way = _named(override) if override else settings.way(domain)
    match way:
        case Refusal():
            return _hindered(domain, Result.FAILED, "5.7.1", way.reason)
        case Relay() if way.host_name.startswith("/") or _is_address(way.host_name):
            place = Host(way.host_name, 0, (way.host_name,), Requirement.OPPORTUNISTIC, "set by the administrator")
            return Route(domain, (Hop(place, (Endpoint(way.host_name, way.port),), way, is_name_secure=True),))
        case Relay():
            plan = yield from plan_host(way.host_name, way.port)
            return _route(domain, plan, plan.hosts, settings, way)
    if domain.startswith("["):
        return _hindered(domain, Result.FAILED, "5.1.2", "mail for address literals is not sent from here")
    plan = yield from plan_delivery(domain, settings.port)
    hosts = _in_order(plan.hosts, entropy)
    ours = [host.preference for host in hosts if _is_ourselves(host, settings)]
    if ours:
        # RFC 5321 section 5.1: only exchangers preferred to ourselves; otherwise the mail would come back.
        hosts = tuple(host for host in hosts if host.preference < min(ours))
        if not hosts:
            return _hindered(
                domain, Result.FAILED, "5.4.6", f"we are the best exchanger of {domain} and do not take it"
            )
    return _route(domain, plan, hosts, settings, None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_ourselves(host: Host, settings: RoutingSettings) -> bool:
    if host.name in settings.our_names:
        return True
    port = settings.ports.get(host.name, settings.port)
    return any(settings.is_ours(Endpoint(address, port)) for address in host.addresses)


def _route(domain: str, plan: Plan, hosts: tuple[Host, ...], settings: RoutingSettings, relay: Relay | None) -> Route:
    match plan.fate:
        case Fate.TRY:
            hops = []
            for host in hosts:
                port = relay.port if relay is not None else settings.ports.get(host.name, settings.port)
                endpoints = tuple(Endpoint(address, port) for address in _alternating(host.addresses))
                hops.append(Hop(host, endpoints, relay, plan.mx_security is Security.SECURE))
            unproved = plan.unproved if relay is None else ()
            return Route(domain, tuple(hops), mx_security=plan.mx_security, unproved=unproved)
        case Fate.DEFER:
            hindered = _hindered(domain, Result.DEFERRED, "4.4.3", plan.reason)
            return replace(hindered, unproved=plan.unproved if relay is None else ())
        case Fate.NO_MAIL:
            return _hindered(domain, Result.FAILED, "5.1.10", plan.reason)  # RFC 7505 section 4.1
        case Fate.NO_DOMAIN:
            # A relay that is not there is our administrator's slip, not the sender's.
            if relay is not None:
                return _hindered(domain, Result.DEFERRED, "4.4.3", plan.reason)
            return _hindered(domain, Result.FAILED, "5.1.2", plan.reason)


def _hindered(domain: str, result: Result, status: str, reason: str) -> Route:
    return Route(domain, hindrance=Hindrance(result, status, reason))


def _in_order(hosts: tuple[Host, ...], entropy: Entropy) -> tuple[Host, ...]:
    ordered: list[Host] = []
    for _, equals in groupby(sorted(hosts, key=lambda host: host.preference), key=lambda host: host.preference):
        several = tuple(equals)
        ordered += entropy.shuffled(several) if len(several) > 1 else several
    return tuple(ordered)


def _alternating(addresses: tuple[str, ...]) -> list[str]:
    # RFC 8305 section 4: one family that does not work here must not use up all the tries.
    kinds = ([one for one in addresses if ":" in one], [one for one in addresses if ":" not in one])
    return [one for pair in zip_longest(*kinds) for one in pair if one is not None]


def _named(text: str) -> Relay:
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit():
        return Relay(host.strip("[]"), int(port))
    return Relay(text.strip("[]"))
