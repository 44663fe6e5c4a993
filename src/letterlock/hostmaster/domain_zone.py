"""The zone of a domain, made from its settings: the records its mail needs, its name servers, and what else is given.

Standards: RFC 1035 section 5.2 (a zone's own records), RFC 1912 section 2.2 (SOA times), RFC 2182 section 5 (two name
servers, which is advice this module cannot enforce).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.dns.zone import Zone
from letterlock.hostmaster.records import DomainFacts, wanted_records

_REFRESH, _RETRY, _EXPIRE, _ABSENT = 3600, 600, 1_209_600, 300


@dataclass(frozen=True, slots=True)
class DomainZone:
    """Where a domain's zone comes from: `facts` is asked each time, `more` is a file of zone text for anything else.

    `name_servers` are host names, the first the primary; those within the domain get its addresses.
    """

    origin: str
    facts: Callable[[], DomainFacts]
    name_servers: tuple[str, ...]
    more: Path | None = None

    def read(self) -> Zone:
        """Return the zone as it should be now, unsigned; raises Malformed, OSError, SettingsFault."""
        facts = self.facts()
        return make_zone(facts, self.name_servers, self.more.read_text(encoding="utf-8") if self.more else "")


def make_zone(facts: DomainFacts, name_servers: tuple[str, ...], more: str = "") -> Zone:
    """Return the zone of a domain with serial number 1; raises Malformed."""
    if not name_servers:
        raise Malformed(f"{facts.domain} needs the names of its name servers", clause="RFC 1035 section 5.2")
    times = f"1 {_REFRESH} {_RETRY} {_EXPIRE} {_ABSENT}"
    lines = [f"@ {facts.ttl} IN SOA {name_servers[0]}. hostmaster.{facts.domain}. {times}"]
    lines += [f"@ {facts.ttl} IN NS {host}." for host in name_servers]
    for host in name_servers:
        if domains.is_within(host, facts.domain) and host != facts.host_name:
            lines += [f"{host}. {facts.ttl} IN {_kind(address)} {address}" for address in facts.addresses]
    lines += [record.line() for record in wanted_records(facts)]
    return Zone.parse("\n".join([*lines, more]) + "\n", facts.domain, facts.ttl)


def _kind(address: str) -> str:
    return "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
