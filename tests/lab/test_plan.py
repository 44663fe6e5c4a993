"""The lab on paper."""

import itertools
import socket
from collections.abc import Callable

import pytest

from letterlock.errors import Malformed
from letterlock.lab import plan as plans


@pytest.fixture(autouse=True)
def all_networks_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else listens on this machine."""
    monkeypatch.setattr(plans, "_can_bind", lambda address, port: True)


def _draw(first: int = 0, guests: tuple[str, ...] = ()) -> plans.Plan:
    counter = itertools.count()
    return plans.draw(lambda below: first % below, lambda: f"password {next(counter)}", guests)


def test_each_host_has_an_address_and_services_their_usual_ports() -> None:
    """As in the real Internet: the exchanger's address says who it is, the port which service."""
    plan = _draw()
    first, second = plan.organisations
    assert first.address != second.address
    assert first.ports == second.ports == plans.SERVICES
    assert first.host_name == "mail.rosewood.test"
    assert first.address_of(first.people[0]) == "ada@rosewood.test"
    assert len({person.password for organisation in plan.organisations for person in organisation.people}) == 4


def test_a_network_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labs stand side by side."""
    taken = _draw()
    monkeypatch.setattr(plans, "_can_bind", lambda address, port: (address, port) != taken.name_server)
    assert _draw().name_server != taken.name_server


def test_a_port_in_use_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens on an endpoint has it."""
    monkeypatch.undo()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not plans._can_bind(*other.getsockname())


@pytest.mark.parametrize("free", [lambda address, _: address == "127.0.0.1", lambda _, port: port != 1430])
def test_one_address_serves_where_the_others_do_not(
    monkeypatch: pytest.MonkeyPatch, free: Callable[[str, int], bool]
) -> None:
    """A lab starts without 127.0.0.0/8, and beside a server that has a port of the lab's on every address."""
    monkeypatch.setattr(plans, "_can_bind", free)
    plan = _draw()
    endpoints = [plan.name_server] + [
        (organisation.address, port) for organisation in plan.organisations for port in organisation.ports.values()
    ]
    assert len(set(endpoints)) == 15
    assert {address for address, _ in endpoints} == {"127.0.0.1"}


def test_a_guest_gets_an_address_of_its_own() -> None:
    """Another mail server joins at an address that nothing else uses, on the port that all exchangers have."""
    plan = _draw(guests=("quarry.test",))
    (guest,) = plan.guests
    assert guest.port == plans.SERVICES["smtp"]
    assert guest.address not in {organisation.address for organisation in plan.organisations}


@pytest.mark.parametrize("name", ["quarry.test", "Quarry.TEST."])
def test_a_guest_is_a_name_below_test(name: str) -> None:
    """The lab's zone of test delegates to it."""
    assert plans.guest_domain(name) == "quarry.test"


@pytest.mark.parametrize(
    "name", ["rosewood.test", "ns.test", "good.test", "test", "a.b.test", "quarry.example", "a..test"]
)
def test_a_guest_for_whom_there_is_no_room_is_refused(name: str) -> None:
    """The lab's own names, and names elsewhere."""
    with pytest.raises(Malformed):
        plans.guest_domain(name)
