"""The lab's name server: every zone signed, one anchor for them all.

See also: lab/zones.py for what stands in the zones, hostmaster/tree.py for how they are signed.
"""

from __future__ import annotations

from collections.abc import Mapping

from letterlock.formats.dns import zone_text
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.types import IN
from letterlock.formats.dns.zone import DS, Zone
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.records import WantedRecord
from letterlock.hostmaster.tree import ZonePlan, sign_tree
from letterlock.lab.plan import Plan
from letterlock.lab.zones import zone_texts
from letterlock.trust.dnssec.sign import SigningKey

_ROOT = b"\x00"


def signed_zones(plan: Plan, published: Mapping[str, tuple[WantedRecord, ...]], now: int) -> tuple[list[Zone], str]:
    """Return the signed zones, and the trust anchor of the root as a line of zone text; `now` in seconds since 1970."""
    texts = zone_texts(plan, published)
    trees = [ZonePlan(Zone.parse(text, origin), (SigningKey.generate(),)) for origin, text in texts.items()]
    root = next(tree for tree in trees if tree.zone.origin == _ROOT)
    anchor = "".join(zone_text.line(Record(_ROOT, DS, IN, 3600, ds)) + "\n" for ds in root.ds())
    return sign_tree(trees, now), anchor


async def start_name_server(plan: Plan, zones: list[Zone]) -> NameServer:
    """Serve the zones at the plan's address. Raises OSError."""
    server = NameServer(zones)
    await server.listen(*plan.name_server)
    return server
