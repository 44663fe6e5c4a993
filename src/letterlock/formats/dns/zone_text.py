"""Zone text (master files) read to records and written from them.

Standards: RFC 1035 section 5 ($ORIGIN; not $INCLUDE), RFC 2308 section 4 ($TTL), RFC 3597 section 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import dns.exception
import dns.name
import dns.zone

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_text, types
from letterlock.formats.dns.message import Record

_CLAUSE = "RFC 1035 section 5"


def read(text: str, origin: str = "", default_ttl: int = 3600) -> list[Record]:
    """Return the records of zone text, relative names below `origin`; raises Malformed with the line's number."""
    prefix = f"$ORIGIN {origin.removesuffix('.')}.\n$TTL {default_ttl}\n"
    try:
        zone = dns.zone.from_text(
            prefix + text,
            origin=dns.name.root,
            relativize=False,
            check_origin=False,
            allow_directives=("$ORIGIN", "$TTL"),
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(_describe(error), clause=_CLAUSE) from None
    return [
        Record(owner.to_wire().lower(), int(rdata.rdtype), types.IN, ttl, rdata_text.canonical(rdata))  # type: ignore[union-attr]  # to_wire returns octets when it is given no file
        for owner, ttl, rdata in zone.iterate_rdatas()
    ]


def _describe(error: Exception) -> str:
    # dnspython counts the two lines that were put before the text.
    found = re.fullmatch(r"<string>:(\d+): (.*)", str(error), re.DOTALL)
    return f"line {int(found[1]) - 2}: {found[2]}" if found else f"not zone text: {error}"


def write(records: Iterable[Record]) -> str:
    """Return records as zone text, one a line, names absolute."""
    return "".join(f"{line(record)}\n" for record in records)


def line(record: Record) -> str:
    """Return one record as a line of zone text, without its end."""
    data = rdata_text.write_octets(record.type, record.rdata)
    return f"{names.to_text(record.owner)}. {record.ttl} IN {types.mnemonic(record.type)} {data}"
