"""Which addresses are this machine's own.

The system is asked by binding a socket: it knows its interfaces, their aliases and all of 127.0.0.0/8, on every platform.
"""

from __future__ import annotations

import ipaddress
import socket


def is_own_address(address: str) -> bool:
    """Tell whether an IP address belongs to this machine (or to none: 0.0.0.0 and :: lead to ourselves)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback or parsed.is_unspecified:
        return True
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(parsed), 0))
    except OSError:
        return False
    return True
