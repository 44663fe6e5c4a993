"""The sockets of all services: those a supervisor bound for us, by name, and the rest bound here.

A service for which a socket was passed (systemd's socket units, named by FileDescriptorName= as in `[listen]`) is not bound
again; `metrics`, `registrar` and `mta_sts` are names like the others.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from letterlock.admd.sections import Listen
from letterlock.admd.settings import Settings
from letterlock.admd.values import split_endpoint
from letterlock.errors import SettingsFault
from letterlock.host.inherit import inherited_sockets
from letterlock.host.listen import bind, bind_unix
from letterlock.host.shared_port import bind_shared
from letterlock.hostmaster.name_server import bind_pair

SHARED = "smtp"  # the service that workers take over, where there are any


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound sockets: those of `services` by name, and pairs for UDP and TCP at which the domain's `zones` are served.

    Where there are workers, `SHARED` has one socket for each of them and endpoint, an endpoint's side by side; those a
    supervisor bound are everybody's.
    """

    services: dict[str, list[socket.socket]]
    zones: list[tuple[socket.socket, socket.socket]]

    def of_worker(self, number: int, count: int) -> list[socket.socket]:
        """Return the sockets of the worker with this number among `count`."""
        sockets = self.services.get(SHARED, [])
        is_ours = all(one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for one in sockets)
        return sockets[number::count] if is_ours and len(sockets) % count == 0 else sockets

    def close(self) -> None:
        """Close them all; those that somebody serves on are closed already, and that does no harm."""
        for one in (one for several in (*self.services.values(), *self.zones) for one in several):
            one.close()


def _bind(settings: Settings, service: str, endpoint: str) -> list[socket.socket]:
    kind, _, path = endpoint.partition(":")
    if kind == "unix":
        return [bind_unix(settings.path(Path(path)), mode=0o666)]  # its folder says who gets there
    if service == SHARED and settings.workers:
        return bind_shared(*split_endpoint(endpoint), settings.workers)
    return [bind(*split_endpoint(endpoint))]


def bound_sockets(settings: Settings, environment: Mapping[str, str] | None = None) -> Sockets:
    """Return bound sockets. Raises SettingsFault naming all that could not be bound, with none left open."""
    sockets = inherited_sockets(environment or {})
    bound_all = Sockets(sockets, [])
    wanted = {service: getattr(settings.listen, service) for service in Listen.model_fields}
    apart = {
        "metrics": settings.metrics.listen,
        "registrar": settings.registrar.listen,
        "mta_sts": settings.mta_sts.listen,
    }
    wanted |= apart
    problems = [
        f"a socket was passed for {name!r}, which is no service; use {', '.join(wanted)}"
        for name in sockets
        if name not in wanted
    ]
    for service, endpoints in wanted.items():
        if service in sockets:
            continue
        bound = sockets[service] = []
        section = f"{service}.listen" if service in apart else f"listen.{service}"
        for endpoint in endpoints:
            try:
                bound += _bind(settings, service, endpoint)
            except OSError as error:
                problems.append(f"{section} = {endpoint!r}: {error.strerror}; choose another, or free this one")
    for endpoint in settings.publish.listen:
        try:
            bound_all.zones.append(bind_pair(*split_endpoint(endpoint)))
        except OSError as error:
            problems.append(f"publish.listen = {endpoint!r}: {error.strerror}; choose another, or free this one")
    if problems:
        bound_all.close()
        raise SettingsFault(tuple(problems))
    return bound_all
