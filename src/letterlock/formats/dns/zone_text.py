"""Zone text (master files) read to records and written from them.

Standards: RFC 1035 section 5 ($ORIGIN; not $INCLUDE), RFC 2308 section 4 ($TTL), RFC 3597 section 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.tokenizer
import dns.zonefile

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_text, types
from letterlock.formats.dns.message import Record

_CLAUSE = "RFC 1035 section 5"


def read(text: str, origin: str = "", default_ttl: int = 3600) -> list[Record]:
    """Return the records of zone text, relative names below `origin`; raises Malformed naming the line."""
    try:
        collector = _Collector(dns.name.from_text(origin.removesuffix(".") + "."))
    except dns.exception.DNSException as error:
        raise Malformed(f"{origin!r} is no name of a zone: {_describe(error)}", clause=_CLAUSE) from None
    tokens = dns.tokenizer.Tokenizer(f"$TTL {default_ttl}\n{text}", "<zone>")
    # The reader needs of its transaction only what the collector has.
    reader = dns.zonefile.Reader(
        tokens,
        dns.rdataclass.IN,
        collector,  # type: ignore[arg-type]
        allow_directives=("$ORIGIN", "$TTL"),
    )
    reader.current_origin = collector.origin
    try:
        reader.read()
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(_describe(error), clause=_CLAUSE) from None
    return collector.records


class _Collector:
    """Stands where dnspython's reader wants a transaction, and gathers records wherever they belong."""

    def __init__(self, origin: dns.name.Name) -> None:
        self.manager = self
        self.origin = origin
        self.records: list[Record] = []

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        # As zone origin the root, so that the reader drops nothing.
        return dns.name.root, False, dns.name.root

    def _set_origin(self, _origin: dns.name.Name) -> None:
        """Need no word of $ORIGIN: owners arrive as whole names."""

    def check_put_rdataset(self, _check: object) -> None:
        """Need no checks: a zone makes its own."""

    def add(self, owner: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        wire = names.from_labels(list(owner.labels[:-1]))
        self.records.append(Record(wire, int(rdata.rdtype), types.IN, ttl, rdata_text.canonical(rdata)))


def _describe(error: Exception) -> str:
    # dnspython counts the line that was put before the text, and has often read on to the next one.
    found = re.fullmatch(r"<zone>:(\d+): (.*)", str(error), re.DOTALL)
    return f"near line {int(found[1]) - 1}: {found[2]}" if found else f"not zone text: {error}"


def write(records: Iterable[Record]) -> str:
    """Return records as zone text, one a line, names absolute."""
    return "".join(f"{line(record)}\n" for record in records)


def line(record: Record) -> str:
    """Return one record as a line of zone text, without its end."""
    data = rdata_text.write_octets(record.type, record.rdata)
    return f"{names.to_text(record.owner)}. {record.ttl} IN {types.mnemonic(record.type)} {data}"
