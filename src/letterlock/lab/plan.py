"""The lab on paper: two organisations, their people, and which address and port everything gets.

Where a system has all of 127.0.0.0/8, every lab takes a /24 of its own (127.0.N.0), each host has its own address and
services have the same ports everywhere, as in the real Internet. Elsewhere, and where another server has one of these
ports on all addresses, all share 127.0.0.1 and the system hands out the ports.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.lab import dns_tree

SERVICES = {
    "smtp": 2525,
    "submissions": 4650,
    "submission": 5870,
    "imaps": 9930,
    "imap": 1430,
    "pop3s": 9950,
    "pop3": 1100,
}
NAME_SERVER_PORT = 5300


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account: the local part, the name shown, and the password."""

    local_part: str
    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Organisation:
    """A domain of the lab. `ports` is by service, as in `SERVICES`."""

    domain: str
    address: str
    ports: dict[str, int]
    people: tuple[Person, ...]

    @property
    def host_name(self) -> str:
        """The name of its one server."""
        return f"mail.{self.domain}"

    def endpoint(self, service: str) -> str:
        """Return ADDRESS:PORT of a service."""
        return f"{self.address}:{self.ports[service]}"

    def address_of(self, person: Person) -> str:
        """Return the person's mail address."""
        return f"{person.local_part}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Guest:
    """A domain that another mail server is going to serve, at the address and port kept free for it."""

    domain: str
    address: str
    port: int

    @property
    def host_name(self) -> str:
        """The name of its mail exchanger."""
        return f"mail.{self.domain}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole lab: the name server of all zones, the organisations, and the guests."""

    name_server: tuple[str, int]
    organisations: tuple[Organisation, Organisation]
    guests: tuple[Guest, ...] = ()


_TOP = "test"
_PEOPLE = {
    "rosewood.test": (("ada", "Ada Lindgren"), ("bruno", "Bruno Çelik")),
    "harbor.test": (("chiyo", "山田 千代"), ("dafydd", "Dafydd O'Connor")),
}


def guest_domain(name: str) -> str:
    """Return the domain of a guest as A-labels. Raises Malformed where the lab has no room for that name."""
    domain = domains.to_ascii(name)
    label, _, parent = domain.partition(".")
    if parent != _TOP:
        raise Malformed(f"{domain} is not below {_TOP}; take a name such as quarry.{_TOP}")
    if domain in _PEOPLE or label in {"ns", *dns_tree.NAMES}:
        raise Malformed(f"the lab has a {domain} of its own; take another name")
    return domain


def draw(random_below: Callable[[int], int], password: Callable[[], str], guests: tuple[str, ...] = ()) -> Plan:
    """Choose free addresses and ports; `guests` are domains, as `guest_domain` returns them. Raises OSError."""
    people = {
        domain: tuple(Person(local_part, name, password()) for local_part, name in persons)
        for domain, persons in _PEOPLE.items()
    }
    if _can_bind("127.0.9.9", 0):
        first = random_below(200)
        for offset in range(200):
            plan = _on_own_network(16 + (first + offset) % 200, people, guests)
            if all(_can_bind(address, port) for address, port in _endpoints(plan)):
                return plan
        # Something else has these ports on every address: a server beside which a lab must start, too.
    return _on_one_address(people, guests)


def _on_own_network(network: int, people: dict[str, tuple[Person, ...]], guests: tuple[str, ...]) -> Plan:
    first, second = (
        Organisation(domain, f"127.0.{network}.{host}", SERVICES, persons)
        for host, (domain, persons) in zip((10, 20), people.items(), strict=True)
    )
    invited = tuple(
        Guest(domain, f"127.0.{network}.{host}", SERVICES["smtp"]) for host, domain in enumerate(guests, start=100)
    )
    return Plan((f"127.0.{network}.53", NAME_SERVER_PORT), (first, second), invited)


def _on_one_address(people: dict[str, tuple[Person, ...]], guests: tuple[str, ...]) -> Plan:
    with _handed_out_ports(1 + len(people) * len(SERVICES) + len(guests)) as ports:
        first, second = (
            Organisation(domain, "127.0.0.1", {service: next(ports) for service in SERVICES}, persons)
            for domain, persons in people.items()
        )
        invited = tuple(Guest(domain, "127.0.0.1", next(ports)) for domain in guests)
        return Plan(("127.0.0.1", next(ports)), (first, second), invited)


def _endpoints(plan: Plan) -> Iterator[tuple[str, int]]:
    yield plan.name_server
    for organisation in plan.organisations:
        for port in organisation.ports.values():
            yield organisation.address, port
    for guest in plan.guests:
        yield guest.address, guest.port


def _can_bind(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _handed_out_ports(count: int) -> Iterator[Iterator[int]]:
    # All are held open until the last is known, so that none is handed out twice.
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        yield iter([probe.getsockname()[1] for probe in probes])
