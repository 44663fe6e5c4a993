"""The domain's own MTA-STS policy: what it says, its id, and its page over HTTPS.

Others that cannot use DANE learn from it that our server has TLS and by which name its certificate is to be checked. Their
way: the TXT record at `_mta-sts.DOMAIN` says that there is a policy and by its id which; the policy is fetched from
`https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, whose certificate must carry that name.

Standards: RFC 8461 section 3.1 (the record), section 3.2 (the policy), section 3.3 (HTTPS).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Callable, Sequence
from functools import partial

from letterlock.admd.settings import Settings, key_pairs
from letterlock.admd.watch import keep_certificates_current
from letterlock.formats.mta_sts import Mode, Policy, write_policy
from letterlock.host.listen import Listener
from letterlock.host.logs import Log
from letterlock.host.pages import Page, Pages
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.trust.primitives import peer_chain

_DAY = 86_400
_GRACE_SECONDS = 2.0
PATH = "/.well-known/mta-sts.txt"


def policy_of(settings: Settings) -> bytes:
    """Return the policy as it is served, the same for all local domains."""
    wanted = settings.mta_sts
    return write_policy(Policy(Mode(wanted.mode), (settings.host_name,), wanted.max_age_days * _DAY))


def policy_id(settings: Settings) -> str:
    """Return the id for the TXT record, "" where no policy is served: it changes exactly when the policy does."""
    if not settings.mta_sts.listen:
        return ""
    return hashlib.sha256(policy_of(settings)).hexdigest()[:32]


class PolicyHost:
    """Serves the policy."""

    def __init__(self, settings: Settings) -> None:
        self.tls = ServerTls(policy_key_pairs(settings))
        self.listener = Listener(Pages({PATH: self._answer}).session, log=Log("mta-sts"), tls=self.tls)
        self._page = _page(settings)

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Return what lets the policy of other settings be served."""
        return partial(setattr, self, "_page", _page(settings))

    async def _answer(self) -> Page:
        return self._page


def _page(settings: Settings) -> Page:
    return Page(policy_of(settings), "text/plain; charset=us-ascii")


async def serve_policy(
    settings: Settings, sockets: Sequence[socket.socket], stack: contextlib.AsyncExitStack
) -> PolicyHost | None:
    """Serve the policy at sockets that were bound; `stack` ends it. None where there are none. Raises SettingsFault."""
    if not sockets:
        return None
    host, log = PolicyHost(settings), Log("mta-sts")
    pairs = policy_key_pairs(settings)
    for domain in settings.local_domains:
        name = f"mta-sts.{domain}"
        if not any(peer_chain.read(peer_chain.read_pem(pair.chain.read_bytes())[0]).is_for(name) for pair in pairs):
            log.warning("certificate does not name the policy's host", host=name, file=str(pairs[0].chain))
    await host.listener.start(sockets)
    stack.push_async_callback(host.listener.stop, grace_seconds=_GRACE_SECONDS)
    files = tuple(path for pair in pairs for path in (pair.chain, pair.key))
    keeping = asyncio.create_task(keep_certificates_current(host.tls, files, log))
    stack.push_async_callback(_end, keeping)
    return host


def policy_key_pairs(settings: Settings) -> tuple[KeyPair, ...]:
    """Return the certificates it is served with: its own, or else those of all services."""
    wanted = settings.mta_sts
    if wanted.certificate is None or wanted.key is None:
        return key_pairs(settings)
    return (KeyPair(settings.path(wanted.certificate), settings.path(wanted.key)),)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
