"""Validated look-ups per CPU-second beside dnspython, which asks a local unbound for the AD bit.

Both ask the same unbound over loopback; ours switches its validation off and validates itself. Counted is the CPU time
of the asking process only: what unbound spends on validating for the peer does not appear.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.flags
import dns.resolver
import uvloop

from letterlock.formats.dns import name as names
from letterlock.formats.dns import zone_text
from letterlock.formats.dns.question import Question, Security
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.source import ForwardSource
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.hostmaster.tree import ZonePlan, anchors_of, sign_tree
from letterlock.lab import dns_tree

NAMES_A_RUN = 400
ROUNDS = 5


def main() -> None:
    """Run for about twenty seconds and print the table."""
    unbound = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")
    if unbound is None:
        print("unbound is not installed (tools/install-interop-programs)")
        return
    with tempfile.TemporaryDirectory() as folder:
        zones = Zones(Path(folder))
        authority = subprocess.Popen(zones.serving(), stdout=subprocess.PIPE)
        assert authority.stdout is not None
        authority.stdout.readline()
        resolver = subprocess.Popen([unbound, "-d", "-c", str(zones.configure_unbound())], stderr=subprocess.PIPE)
        assert resolver.stderr is not None
        while b"start of service" not in resolver.stderr.readline():
            pass
        try:
            rows = uvloop.run(measure(zones))
        finally:
            for process in (resolver, authority):
                process.terminate()
                process.wait()
    print(f"{'what':42}  {'ours':>10}  {'dnspython':>10}  ratio")
    for what, ours, peer in rows:
        ratio = f"{peer / ours:5.1f}" if peer else "    -"
        shown = f"{peer * 1e6:7.1f} us" if peer else "         -"
        print(f"{what:42}  {ours * 1e6:7.1f} us  {shown:>10}  {ratio}")


class Zones:
    """The signed tree on disk, with names to ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.unbound_port = _free_port(), _free_port()
        good = next(plan for plan in dns_tree.test_plans() if plan.zone.origin == names.to_wire("good.test"))
        hosts = "".join(f"n{number} IN A 127.0.1.1\n" for number in range(NAMES_A_RUN * (ROUNDS + 1)))
        grown = good.zone.parse(good.zone.text() + hosts, "good.test")
        plans = [*dns_tree.parent_plans(), ZonePlan(grown, good.keys)]
        self.zones = sign_tree(plans, int(time.time()))
        self.root = next(zone for zone in self.zones if zone.origin == names.ROOT)
        for zone in self.zones:
            self._file(zone.origin).write_text(zone.text())

    def _file(self, origin: bytes) -> Path:
        return self.folder / (names.to_text(origin) or "root")

    def serving(self) -> list[str]:
        """Return the command that serves the tree."""
        pairs = [f"{names.to_text(zone.origin)}={self._file(zone.origin)}" for zone in self.zones]
        command = [sys.executable, "-u", "-m", "letterlock", "dns", "zone", "serve"]
        return [*command, *pairs, "--listen", f"127.0.0.1:{self.port}"]

    def configure_unbound(self) -> Path:
        """Write unbound's settings and return the file."""
        anchors = self.folder / "anchors"
        anchors.write_text(zone_text.write(anchors_of(self.root)[names.ROOT][0].records()))
        stubs = "".join(
            f'stub-zone:\n  name: "{names.to_text(zone.origin)}."\n  stub-addr: 127.0.0.1@{self.port}\n  stub-prime: no\n'
            for zone in self.zones
        )
        file = self.folder / "unbound.conf"
        file.write_text(
            f'server:\n  interface: 127.0.0.1\n  port: {self.unbound_port}\n  do-daemonize: no\n  chroot: ""\n'
            f'  username: ""\n  pidfile: ""\n  use-syslog: no\n  verbosity: 1\n  directory: "{self.folder}"\n'
            f'  trust-anchor-file: "{anchors}"\n  do-not-query-localhost: no\n  local-zone: "test." nodefault\n{stubs}'
        )
        return file


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def measure(zones: Zones) -> list[tuple[str, float, float]]:
    """Return rows of what was measured, our CPU seconds and the peer's."""
    exchange = Exchange()
    upstream = Upstream((Server("127.0.0.1", zones.unbound_port),), exchange)

    def fresh() -> CachingResolver:
        return CachingResolver(ValidatingResolver(ForwardSource(upstream), anchors_of(zones.root)))

    def questions(run: int) -> list[Question]:
        return [Question(f"n{run * NAMES_A_RUN + number}.good.test", "A") for number in range(NAMES_A_RUN)]

    async def ask(resolver: CachingResolver, question: Question) -> None:
        answer = await resolver.ask(question)
        assert answer.security is Security.SECURE, answer

    peer = _peer(zones.unbound_port, cached=False)
    peer_cached = _peer(zones.unbound_port, cached=True)
    for question in questions(0):
        await ask(fresh(), question)
        peer(question)
        peer_cached(question)
    cold, warm, warm_peer, cached, cached_peer = [], [], [], [], []
    for run in range(1, ROUNDS + 1):
        cold.append(await _each(lambda question: ask(fresh(), question), questions(0)[:50]))
        resolver = fresh()
        await ask(resolver, questions(0)[0])
        warm.append(await _each(lambda question, resolver=resolver: ask(resolver, question), questions(run)))  # type: ignore[misc]
        warm_peer.append(_each_blocking(peer, questions(run)))
        cached.append(await _each(lambda question, resolver=resolver: ask(resolver, question), questions(run)))  # type: ignore[misc]
        cached_peer.append(_each_blocking(peer_cached, questions(0)))
    await exchange.aclose()
    return [
        ("cold: the whole chain from the anchor", statistics.median(cold), 0.0),
        ("warm: a new name in a known zone", statistics.median(warm), statistics.median(warm_peer)),
        ("cached", statistics.median(cached), statistics.median(cached_peer)),
    ]


def _peer(port: int, *, cached: bool) -> Callable[[Question], None]:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = port
    resolver.use_edns(0, dns.flags.DO, 1232)
    resolver.flags = dns.flags.RD | dns.flags.AD
    if cached:
        resolver.cache = dns.resolver.LRUCache()

    def ask(question: Question) -> None:
        answer = resolver.resolve(question.name, question.type)
        assert answer.response.flags & dns.flags.AD

    return ask


async def _each(ask: Callable[[Question], Awaitable[None]], questions: list[Question]) -> float:
    started = time.process_time()
    for question in questions:
        await ask(question)
    return (time.process_time() - started) / len(questions)


def _each_blocking(ask: Callable[[Question], None], questions: list[Question]) -> float:
    started = time.process_time()
    for question in questions:
        ask(question)
    return (time.process_time() - started) / len(questions)


if __name__ == "__main__":
    main()
