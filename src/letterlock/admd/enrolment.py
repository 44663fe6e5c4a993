"""The domain's certification authority, wired: opened at the start, behind its address, its lists and answers published."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable, Callable
from functools import partial

from letterlock.admd.settings import Settings
from letterlock.admd.signing import Signer
from letterlock.admd.smime_files import open_own_authority
from letterlock.errors import SettingsFault
from letterlock.formats.address import Address
from letterlock.formats.x509.certificate import Certificate
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.enrolment import Enrolment
from letterlock.host.clock import Clock
from letterlock.host.logs import Log
from letterlock.store.interface import Store


def open_enrolment(
    settings: Settings,
    keys: DomainKeys | None,
    store: Store,
    look_at_zones: Callable[[], Awaitable[None]],
    clock: Clock,
    stack: contextlib.AsyncExitStack,
) -> Enrolment:
    """Open the authority, and let it work until `stack` ends. Raises SettingsFault, Unavailable."""
    wanted = settings.registrar
    authority = open_own_authority(settings)
    stack.callback(authority.registry.close)
    address = Address.parse(wanted.address) if wanted.address else None
    if address is not None and address.domain not in settings.local_domains:
        raise SettingsFault((f"registrar.address = {wanted.address!r}: choose one in {settings.domain}",))
    enrolment = Enrolment(
        authority,
        address,
        store,
        Signer(settings, clock),
        partial(_published, keys, look_at_zones, clock),
        clock,
        Log("registrar"),
        settings.transfer.expire_after_seconds,
    )
    stack.push_async_callback(_end, asyncio.create_task(enrolment.run()))
    return enrolment


async def _published(
    keys: DomainKeys | None,
    look_at_zones: Callable[[], Awaitable[None]],
    clock: Clock,
    certificates: tuple[Certificate, ...],
) -> None:
    """Let the gateway know the people's certificates, and the zone show them."""
    if keys is not None:
        when = datetime.datetime.fromtimestamp(int(clock.now()), datetime.UTC)
        known = {each.certificate for each in keys.store.certificates()}
        for certificate in certificates:
            if certificate not in known:
                keys.store.add_certificate(certificate, "the domain's authority", when)
    await look_at_zones()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
