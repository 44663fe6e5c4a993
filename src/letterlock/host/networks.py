"""Whether a peer is in one of some networks.

See also: host/listen.py (limits by network).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from letterlock.host.listen import Network


def is_within(host: str, networks: Sequence[Network]) -> bool:
    """Tell whether an IP address is in one of `networks`; the path of a Unix socket is in none."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
