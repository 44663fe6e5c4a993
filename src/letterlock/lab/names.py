"""The lab's name server: every zone signed, one anchor for them all.

See also: lab/zones.py for what stands in the zones, hostmaster/tree.py for how they are signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from letterlock.formats.dns import zone_text
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.types import IN
from letterlock.formats.dns.zone import DS, Zone
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.records import WantedRecord
from letterlock.hostmaster.tree import ZonePlan, sign_tree
from letterlock.lab import dns_tree
from letterlock.lab.plan import Plan
from letterlock.lab.zones import zone_texts
from letterlock.trust.dnssec.sign import SigningKey

_ROOT = b"\x00"
_TOP = b"\x04test\x00"


def zone_plans(plan: Plan, published: Mapping[str, tuple[WantedRecord, ...]]) -> list[ZonePlan]:
    """Return the plans of the lab's zones, with new keys."""
    texts = zone_texts(plan, published)
    return [ZonePlan(Zone.parse(text, origin), (SigningKey.generate(),)) for origin, text in texts.items()]


def anchor_of(plans: list[ZonePlan]) -> str:
    """Return the trust anchor of the root as a line of zone text."""
    root = next(tree for tree in plans if tree.zone.origin == _ROOT)
    return "".join(zone_text.line(Record(_ROOT, DS, IN, 3600, ds)) + "\n" for ds in root.ds())


async def add_examples(server: NameServer, plans: list[ZonePlan], now: int) -> None:
    """Serve the examples of dns_tree too: sound zones and broken ones below `test.` (`dns lookup www.expired.test`)."""
    for zone in await asyncio.to_thread(_with_examples, plans, now):
        server.put(zone)


def _with_examples(plans: list[ZonePlan], now: int) -> list[Zone]:
    (top,) = (plan for plan in plans if plan.zone.origin == _TOP)
    others = [plan for plan in plans if plan is not top]
    text = top.zone.text().replace(" 1 3600 600 ", " 2 3600 600 ", 1)
    delegations = "".join(f"{child} 300 IN NS ns.test.\n" for child in dns_tree.NAMES)
    top = replace(top, zone=Zone.parse(text + delegations, "test"))
    zones = sign_tree([*others, top, *dns_tree.test_plans()], now)
    served = {plan.zone.origin for plan in others}
    return [zone for zone in zones if zone.origin not in served]


async def start_name_server(plan: Plan, zones: list[Zone]) -> NameServer:
    """Serve the zones at the plan's address. Raises OSError."""
    server = NameServer(zones)
    await server.listen(*plan.name_server)
    return server
