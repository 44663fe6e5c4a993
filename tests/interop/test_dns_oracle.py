"""Verdicts beside unbound's, over every zone of the signed tree; and what delv, drill and ldns say of our zones."""

import asyncio
import base64
import shutil
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types, zone_text
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.types import Rcode
from letterlock.formats.dns.zone import Zone
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.forward import ForwardingResolver
from letterlock.host.resolver.iterate import IterativeSource
from letterlock.host.resolver.source import ForwardSource
from letterlock.host.resolver.system import Probed, probe
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.tree import anchors_of, sign_tree
from letterlock.lab import dns_tree
from letterlock.protocols.dns import client

pytestmark = pytest.mark.interop

CHILDREN = (*dns_tree.NAMES, "sub.good", "signed.good", "sub.hashed", "signed.hashed", "sub.optout", "signed.optout")
QUESTIONS = (
    ("", "MX"),
    ("", "SOA"),
    ("", "NS"),
    ("", "DS"),
    ("", "TXT"),
    ("www", "A"),
    ("www", "MX"),
    ("mail", "AAAA"),
    ("none", "A"),
    ("b.none", "TXT"),
    ("alias", "A"),
    ("alias", "CNAME"),
    ("abroad", "A"),
    ("outcast", "A"),
    ("nowhere", "A"),
    ("a.old", "TXT"),
    ("q.old", "TXT"),
    ("old", "DNAME"),
    ("x.wild", "TXT"),
    ("x.y.wild", "TXT"),
    ("x.wild", "A"),
    ("deep.wild", "A"),
    ("deep.wild", "TXT"),
    ("x.walias", "A"),
    ("z", "A"),
    ("x.y.z", "A"),
    ("x.y.z", "TXT"),
    ("_25._tcp.mail", "TLSA"),
    ("_smtps._tcp", "SRV"),
    ("host", "HINFO"),
    ("list", "MINFO"),
)


@dataclass
class Tree:
    """The tree served, and an unbound that resolves and validates in it."""

    server: NameServer
    port: int
    unbound: Server
    exchange: Exchange
    anchors: Path

    @property
    def root(self) -> Zone:
        return self.server.catalog.zones[names.ROOT]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
async def tree(tmp_path: Path) -> AsyncIterator[Tree]:
    plans = [*dns_tree.parent_plans(), *dns_tree.test_plans()]
    server = NameServer(sign_tree(plans, int(time.time())))
    port = await server.listen("127.0.0.1")
    anchors = tmp_path / "anchors"
    root = server.catalog.zones[names.ROOT]
    anchors.write_text(zone_text.write(anchors_of(root)[names.ROOT][0].records()))
    resolver_port = _free_port()
    stubs = "".join(
        f'stub-zone:\n  name: "{names.to_text(origin)}."\n  stub-addr: 127.0.0.1@{port}\n  stub-prime: no\n'
        for origin in server.catalog.zones
    )
    (tmp_path / "unbound.conf").write_text(
        f"""
server:
  interface: 127.0.0.1
  port: {resolver_port}
  do-daemonize: no
  verbosity: 1
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  num-threads: 1
  directory: "{tmp_path}"
  trust-anchor-file: "{anchors}"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  minimal-responses: no
  ede: yes
{stubs}"""
    )
    process = await asyncio.create_subprocess_exec(
        _program("unbound"), "-d", "-c", str(tmp_path / "unbound.conf"), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    while b"start of service" not in said:
        line = await process.stderr.readline()
        assert line, said
        said += line
    exchange = Exchange()
    unbound = Server("127.0.0.1", resolver_port)
    yield Tree(server, port, unbound, exchange, anchors)
    await exchange.aclose()
    process.terminate()
    await process.wait()
    await server.aclose()


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
    assert found, f"{name} is not installed"
    return found


def _verdict(answer: Answer) -> tuple[str, str, frozenset[bytes]]:
    security = "secure" if answer.security is Security.SECURE else "insecure"
    if answer.outcome is Outcome.FAILED:
        return "failed", "bogus", frozenset()
    return answer.outcome.value, security, frozenset(rdata_wire.write(data) for data in answer.records)


async def _ask_unbound(tree: Tree, question: Question) -> tuple[str, str, frozenset[bytes]]:
    query = client.query(0, names.to_wire(question.name), types.number(question.type), flags=messages.RD | messages.AD)
    response = await tree.exchange.ask(tree.unbound, query, 10)
    if response.rcode == Rcode.SERVFAIL:
        return "failed", "bogus", frozenset()
    assert response.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN), types.rcode_text(response.rcode)
    security = Security.SECURE if response.is_authentic else Security.INSECURE
    return _verdict(client.read_answer(question, response, security))


def _questions() -> list[Question]:
    below = [
        Question(f"{name}.{child}.test".removeprefix("."), mnemonic)
        for child in CHILDREN
        for name, mnemonic in QUESTIONS
    ]
    top = [Question(name, kind) for name in ("", "test") for kind in ("DS", "DNSKEY", "SOA", "NS", "MX")]
    return [*below, *top, Question("none", "A"), Question("ns.test", "A")]


async def _differences(tree: Tree, resolver: ValidatingResolver) -> list[str]:
    different = []
    for question in _questions():
        ours, theirs = await resolver.ask(question), await _ask_unbound(tree, question)
        if _verdict(ours) != theirs:
            different.append(f"{question}: we {_verdict(ours)} ({ours.reason}), unbound {theirs}")
    return different


async def test_every_verdict_of_the_iterating_resolver_is_unbounds(tree: Tree) -> None:
    """Over every zone of the tree, every name and type: the same outcome, security and records."""
    source = IterativeSource(tree.exchange, [Server("127.0.0.1", tree.port)], port=tree.port)
    assert len(_questions()) > 700
    assert await _differences(tree, ValidatingResolver(source, anchors_of(tree.root))) == []


async def test_every_verdict_through_a_forwarder_is_unbounds(tree: Tree) -> None:
    """The same by way of unbound as a forwarder, whose checking we switch off and do ourselves."""
    source = ForwardSource(Upstream((tree.unbound,), tree.exchange))
    assert await probe((tree.unbound,), names.ROOT, tree.exchange) == (Probed(tree.unbound),)
    assert await _differences(tree, ValidatingResolver(source, anchors_of(tree.root))) == []


async def test_the_ad_bit_of_a_trusted_resolver_is_taken(tree: Tree) -> None:
    """Back end (b): unbound's own word, secure where it says so, and a failure where it refuses."""
    resolver = ForwardingResolver(Upstream((tree.unbound,), tree.exchange), trust_ad=True)
    for child, security in (("good", Security.SECURE), ("insecure", Security.INSECURE)):
        assert (await resolver.ask(Question(f"www.{child}.test", "A"))).security is security
    assert (await resolver.ask(Question("www.expired.test", "A"))).outcome is Outcome.FAILED
    plain = ForwardingResolver(Upstream((tree.unbound,), tree.exchange))
    assert (await plain.ask(Question("www.good.test", "A"))).security is Security.INSECURE


SOUND = ("good", "hashed", "optout", "rsa", "rsa512", "p384", "ed448", "signed.hashed")


@pytest.mark.parametrize("child", SOUND)
async def test_bind_verifies_the_zones_we_sign(tree: Tree, child: str, tmp_path: Path) -> None:
    """dnssec-verify and ldns-verify-zone find nothing wrong with the whole zone."""
    path = tmp_path / "zone"
    zone = tree.server.catalog.zones[names.to_wire(f"{child}.test")]
    path.write_text(zone.text())
    for command in (
        [_program("dnssec-verify"), "-z", "-o", f"{child}.test", str(path)],
        [_program("ldns-verify-zone"), str(path)],
    ):
        code, output = await _run(command)
        assert code == 0, output


@pytest.mark.parametrize("child", SOUND)
async def test_delv_and_drill_agree(tree: Tree, child: str, tmp_path: Path) -> None:
    """They validate what is there, wildcards included, from the anchor down."""
    for name, kind in (("www", "A"), ("x.wild", "TXT")):
        # RFC 5155 section 9.2: with opt-out, a wildcard's answer cannot be secure. We say insecure as well.
        wanted = "; unsigned answer" if (child, name) == ("optout", "x.wild") else "; fully validated"
        assert wanted in await _delv(tree, tmp_path, f"{name}.{child}.test", kind)
        place = ["-p", str(tree.unbound.port), "@127.0.0.1"]
        command = [_program("drill"), "-S", "-k", str(tree.anchors), *place, f"{name}.{child}.test", kind]
        _, chased = await _run(command)
        assert "Chase successful" in chased, chased


@pytest.mark.parametrize("child", ["expired", "badds", "forged"])
async def test_delv_refuses_the_broken_zones(tree: Tree, child: str, tmp_path: Path) -> None:
    """What we call bogus, delv does not validate: the agreement above means something."""
    said = await _delv(tree, tmp_path, f"www.{child}.test", "A")
    assert "fully validated" not in said
    assert "resolution failed" in said


async def _delv(tree: Tree, folder: Path, name: str, kind: str) -> str:
    keys = folder / "keys.conf"
    keys.write_text(_bind_anchors(tree))
    place = ["@127.0.0.1", "-p", str(tree.unbound.port)]
    _, said = await _run([_program("delv"), *place, "-a", str(keys), "+root=.", name, kind])
    return said


async def _run(command: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def _bind_anchors(tree: Tree) -> str:
    lines = []
    for rdata in anchors_of(tree.root)[names.ROOT][0].rdatas:
        flags, protocol, algorithm = int.from_bytes(rdata[:2], "big"), rdata[2], rdata[3]
        key = base64.b64encode(rdata[4:]).decode()
        lines.append(f'"." static-key {flags} {protocol} {algorithm} "{key}";')
    return "trust-anchors {\n" + "\n".join(lines) + "\n};\n"
