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
from letterlock.hostmaster.name_server import bind_pair


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound sockets: those of `services` by name, and pairs for UDP and TCP at which the domain's `zones` are served."""

    services: dict[str, list[socket.socket]]
    zones: list[tuple[socket.socket, socket.socket]]

    def close(self) -> None:
        """Close them all; those that somebody serves on are closed already, and that does no harm."""
        for one in (one for several in (*self.services.values(), *self.zones) for one in several):
            one.close()


def _bind(settings: Settings, endpoint: str) -> socket.socket:
    kind, _, path = endpoint.partition(":")
    if kind == "unix":
        return bind_unix(settings.path(Path(path)), mode=0o666)  # its folder says who gets there
    return bind(*split_endpoint(endpoint))


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
                bound.append(_bind(settings, endpoint))
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
