"""The options of commands that may ask about revocation, and the asking.

Nobody is asked without `--online`: an authority learns from it that somebody looks at a message of one of its people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli.resolver_options import opened_by
from letterlock.formats.dns.question import Answer, Question
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.resolver.interface import Resolver
from letterlock.host.resolver.system import ResolverSettings
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.retrieve import Retriever, RetrieveSettings
from letterlock.trust.pkix.retrieval import Search
from letterlock.trust.smime.gather import Asking, gather
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.recipients import gather_recipients
from letterlock.trust.smime.unwrap import Unwrapped

T = TypeVar("T")
R = TypeVar("R")
_NONCE_OCTETS = 32  # RFC 9654: at least so many


@dataclass(frozen=True, slots=True)
class Online:
    """What was chosen: whether anybody is asked, how, and how long (together) the answers may take."""

    is_on: bool
    nonce: bool
    zone: Path | None
    private: bool
    seconds: float

    def complete(
        self, unwrapped: Unwrapped, trust: Trust, resolver: ResolverSettings | None = None, file: Path | None = None
    ) -> Trust:
        """Return `trust` with what could be found for the signers of a message; asks nobody unless that was chosen.

        What is kept in `file` of earlier answers is at hand either way.
        """
        if not trust.anchors or not self._finds(file):
            return trust
        return self.search(gather(unwrapped, trust, self._asking), resolver, file)

    def about(
        self,
        certificates: Sequence[Certificate],
        trust: Trust,
        resolver: ResolverSettings | None = None,
        file: Path | None = None,
    ) -> Mapping[Certificate, Trust]:
        """Return `trust` with what could be found for each certificate, as `complete` does."""
        if not trust.anchors or not certificates or not self._finds(file):
            return dict.fromkeys(certificates, trust)
        return self.search(gather_recipients(certificates, trust, self._asking), resolver, file)

    def _finds(self, file: Path | None) -> bool:
        return self.is_on or (file is not None and file.exists())

    @property
    def _asking(self) -> Asking:
        return Asking(nonce=SystemEntropy().octets(_NONCE_OCTETS) if self.nonce else b"")

    def search(self, search: Search[T], resolver: ResolverSettings | None = None, file: Path | None = None) -> T:
        """Drive a search to its end, names looked up by `resolver`, answers kept in `file`. Raises Unavailable."""

        async def run() -> T:
            private = self.private or self.zone is not None
            how = RetrieveSettings(self.seconds, allow_private=private, file=file, asks=self.is_on)
            async with AsyncExitStack() as stack:
                asked: Resolver
                asked = _WhenAsked(resolver, stack) if self.zone is None else ZoneTable.load(self.zone)
                retriever = await stack.enter_async_context(Retriever(how, asked, clock=SystemClock()))
                return await retriever.search(search)

        return asyncio.run(run())


class _WhenAsked:
    """A resolver that is opened for the first question: that takes a while, and often there is none."""

    def __init__(self, settings: ResolverSettings | None, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._turn = asyncio.Lock()
        self._resolver: Resolver | None = None

    async def ask(self, question: Question) -> Answer:
        async with self._turn:
            if self._resolver is None:
                settings = self._settings or ResolverSettings()
                self._resolver = await self._stack.enter_async_context(opened_by(settings))
        return await self._resolver.ask(question)


def online_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options, as its parameter `online`."""

    def wrapped(**parameters: object) -> R:
        names = ("online", "nonce", "zone", "private_networks", "online_seconds")
        online = Online(*(parameters.pop(name) for name in names))  # type: ignore[arg-type]  # click made them of these types
        return command(online=online, **parameters)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
    options = (
        click.option(
            "--online",
            is_flag=True,
            help="Ask the authorities about revocation, and for missing certificates (OCSP, lists, over http and https).",
        ),
        click.option("--nonce", is_flag=True, help="With --online: ask responders for answers made now."),
        click.option(
            "--online-seconds", default=20.0, show_default=True, type=click.FloatRange(0.1, 300), help="Wait so long."
        ),
        click.option(
            "--private-networks", is_flag=True, help="With --online: ask networks of one's own, too, if they are named."
        ),
        click.option(
            "--zone",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Look names up in this zone text, and ask private addresses (for laboratories).",
        ),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
