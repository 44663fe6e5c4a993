"""The sockets of all services: those a supervisor bound for us, by name, and the rest bound here.

A service for which a socket was passed (systemd's socket units, named by FileDescriptorName= as in `[listen]`) is not bound
again; `metrics` is a name like the others.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from letterlock.admd.own_zone import ZoneSockets, bind_own_zones
from letterlock.admd.settings import Listen, Settings, split_endpoint
from letterlock.errors import SettingsFault
from letterlock.host.inherit import inherited_sockets
from letterlock.host.listen import bind

Sockets = Mapping[str, list[socket.socket]]


@dataclass(frozen=True, slots=True)
class Bound:
    """All that had to be bound while we might: the sockets of the services, and those of our own zones."""

    services: Sockets
    zones: ZoneSockets


def bind_all(
    settings: Settings,
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    environment: Mapping[str, str] | None = None,
) -> Bound:
    """Bind everything; `stack` closes what is left of it. Raises SettingsFault."""
    services = bound_sockets(settings, environment)
    for one in (one for several in services.values() for one in several):
        stack.callback(one.close)
    return Bound(services, bind_own_zones(settings, stack))


def bound_sockets(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, list[socket.socket]]:
    """Return bound sockets by service. Raises SettingsFault naming all that could not be bound, with none left open."""
    sockets = inherited_sockets(environment or {})
    wanted = {service: getattr(settings.listen, service) for service in Listen.model_fields}
    wanted["metrics"] = settings.metrics.listen
    problems = [
        f"a socket was passed for {name!r}, which is no service; use {', '.join(wanted)}"
        for name in sockets
        if name not in wanted
    ]
    for service, endpoints in wanted.items():
        if service in sockets:
            continue
        bound = sockets[service] = []
        section = "metrics.listen" if service == "metrics" else f"listen.{service}"
        for endpoint in endpoints:
            try:
                bound.append(bind(*split_endpoint(endpoint)))
            except OSError as error:
                problems.append(f"{section} = {endpoint!r}: {error.strerror}; choose another, or free this one")
    if problems:
        for one in (one for several in sockets.values() for one in several):
            one.close()
        raise SettingsFault(tuple(problems))
    return sockets
