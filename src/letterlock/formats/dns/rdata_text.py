"""Record data as people write it in zone files, through dnspython's presentation forms.

Standards: RFC 1035 section 5.1, RFC 3597 section 5 (types without a form of their own).
"""

from __future__ import annotations

from types import SimpleNamespace

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.RP

from letterlock.errors import Malformed
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.rdata import Rdata

_IN = dns.rdataclass.IN


class _Minfo(dns.rdtypes.ANY.RP.RP):
    """MINFO, which dnspython leaves out: like RP, it is two names (RFC 1035 section 3.3.7)."""


# The module form of registration, which every supported version of dnspython takes.
dns.rdata.register_type(SimpleNamespace(MINFO=_Minfo), types.NUMBERS["MINFO"], "MINFO")


def write(value: Rdata) -> str:
    """Return the presentation form of a record's data, names absolute."""
    return write_octets(types.number(rdata_wire.type_of(value)), rdata_wire.write(value))


def write_octets(number: int, octets: bytes) -> str:
    """Return the presentation form of record data in wire form; raises Malformed."""
    try:
        parsed = dns.rdata.from_wire(_IN, dns.rdatatype.RdataType.make(number), octets, 0, len(octets))
        text = str(parsed.to_text(chunksize=0) if number in _CHUNKED else parsed.to_text())
        return text if _is_readable(number, text) else f"\\# {len(octets)} {octets.hex()}".rstrip()
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"record data without a text form: {error}", clause="RFC 1035 section 5.1") from None


def _is_readable(number: int, text: str) -> bool:
    """Tell whether text can be read again; what cannot is written as octets instead (RFC 3597 section 5)."""
    try:
        dns.rdata.from_text(_IN, dns.rdatatype.RdataType.make(number), text, origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, ValueError):
        return False
    return True


_CHUNKED = {types.NUMBERS[mnemonic] for mnemonic in ("TLSA", "SMIMEA", "DNSKEY", "CDNSKEY", "RRSIG", "DS", "CDS")}


def read(mnemonic: str, text: str, origin: str = "") -> Rdata:
    """Return the value of record data in presentation form, relative names below `origin`; raises Malformed."""
    return rdata_wire.read(mnemonic.upper(), read_octets(mnemonic, text, origin))


def read_octets(mnemonic: str, text: str, origin: str = "") -> bytes:
    """Return the canonical wire octets of record data in presentation form; raises Malformed."""
    try:
        number = dns.rdatatype.RdataType.make(types.number(mnemonic))
        parsed = dns.rdata.from_text(_IN, number, text, origin=dns.name.from_text(origin + "."), relativize=False)
        return canonical(parsed)
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"{text!r} is no {mnemonic} data: {error}", clause="RFC 1035 section 5.1") from None


def canonical(parsed: dns.rdata.Rdata) -> bytes:
    """Return the canonical wire octets of a record that dnspython has read."""
    octets = parsed.to_wire()
    if octets is None:
        raise Malformed("record data without octets", clause="RFC 1035 section 5.1")
    return rdata_wire.expand(octets, 0, len(octets), int(parsed.rdtype), {})
