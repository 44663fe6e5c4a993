"""Trust anchors: the two keys of the root zone, or those of a file with DS or DNSKEY records.

Standards: RFC 4033 section 2 (trust anchor), RFC 7958 (the root's).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from letterlock.errors import Malformed
from letterlock.formats.dns import zone_text
from letterlock.formats.dns.zone import DNSKEY, DS, RecordSet
from letterlock.trust.dnssec.signatures import gather

Anchors = dict[bytes, tuple[RecordSet, ...]]

# https://data.iana.org/root-anchors/root-anchors.xml: KSK-2017 and KSK-2024
_ROOT = """
. 172800 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. 172800 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


def root_anchors() -> Anchors:
    """Return the anchors of the Internet's root zone."""
    return parse(_ROOT)


def parse(text: str) -> Anchors:
    """Read DS and DNSKEY records in zone text as anchors; raises Malformed when there are none."""
    anchors: defaultdict[bytes, tuple[RecordSet, ...]] = defaultdict(tuple)
    for (owner, number), record_set in gather(zone_text.read(text)).items():
        if number in (DS, DNSKEY):
            anchors[owner] += (record_set,)
    if not anchors:
        raise Malformed("no DS or DNSKEY records", clause="RFC 4033 section 2")
    return dict(anchors)


def load(path: Path) -> Anchors:
    """Read a file of anchors; raises Malformed, OSError."""
    return parse(path.read_text(encoding="utf-8"))
