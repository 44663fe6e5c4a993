"""The lab's names: a root, `test.`, and a zone for each organisation, as zone-file text by origin.

One name server holds them all, under the name ns.test., and the delegations between them are real. What an organisation
publishes is what hostmaster says any domain of ours should publish.

Standards: RFC 1034 section 4.2 (zones), RFC 1035 section 5 (zone files).
"""

from __future__ import annotations

from collections.abc import Mapping

from letterlock.hostmaster.records import WantedRecord
from letterlock.lab.plan import Plan

_SOA = "@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60"


def zone_texts(plan: Plan, published: Mapping[str, tuple[WantedRecord, ...]]) -> dict[str, str]:
    """Return the text of each zone by its origin, the root as an empty string; `published` is by domain."""
    address = plan.name_server[0]
    # The A record stands as glue in the root, too: whoever begins there must find the way down.
    root = ["$TTL 300", _SOA, "@ NS ns.test.", "test. NS ns.test.", f"ns.test. A {address}"]
    top = ["$TTL 300", _SOA, "@ NS ns.test.", f"ns A {address}"]
    top += [f"{organisation.domain}. NS ns.test." for organisation in plan.organisations]
    top += [f"{guest.domain}. NS ns.test." for guest in plan.guests]
    texts = {"": root, "test": top}
    for organisation in plan.organisations:
        records = [record.line() for record in published[organisation.domain]]
        texts[organisation.domain] = ["$TTL 300", _SOA, "@ NS ns.test.", *records]
    for guest in plan.guests:
        texts[guest.domain] = ["$TTL 300", _SOA, "@ NS ns.test.", "@ MX 10 mail", f"mail A {guest.address}"]
        texts[guest.domain].append('@ TXT "v=spf1 mx -all"')
    return {origin: "\n".join(lines) + "\n" for origin, lines in texts.items()}
