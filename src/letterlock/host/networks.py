"""Networks of IP addresses, and whether a client is in one of some.

See also: host/listen.py (limits by network).
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_within(host: str, networks: Collection[Network]) -> bool:
    """Tell whether an IP address is in one of `networks`; the path of a Unix socket is in none."""
    return bool(networks) and _is_within(host, frozenset(networks))


@functools.lru_cache(maxsize=8192)  # the same few clients are asked for again and again, on the way of every message
def _is_within(host: str, networks: frozenset[Network]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
