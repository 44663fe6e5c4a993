"""One port for several processes, with each client's network always at the same one of them.

    sockets = bind_shared("192.0.2.25", 25, 4)      # all listen; socket n is for process n

The system shares connections among sockets bound with SO_REUSEPORT. By a program of a few instructions it chooses by the
client's network (an IPv4 /24, an IPv6 /64) and not by its port, so that what a process knows of a network (how many
connections stand, how fast mail comes, who was asked to wait) is all there is to know. The sockets belong to whoever
bound them: while a process is being replaced its clients wait, and nobody is sent elsewhere.

See also: socket(7) (SO_ATTACH_REUSEPORT_CBPF), linux/filter.h; admd/workers.py.
Limits: Linux. Elsewhere the system shares as it likes, and says nothing of it.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

from letterlock.host.listen import BACKLOG, bind

# linux/filter.h, linux/bpf_common.h and asm-generic/socket.h
_SO_ATTACH_REUSEPORT_CBPF = 51
_LOAD_WORD = 0x20
_AND, _MULTIPLY, _SHIFT_RIGHT, _MODULO, _XOR_X, _TO_X = 0x54, 0x24, 0x74, 0x94, 0xAC, 0x07
_RETURN = 0x16
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF
_IPV4_SOURCE, _IPV6_SOURCE = 12, 8
_GOLDEN = 0x9E3779B1  # Knuth's multiplier: neighbouring networks part

Instruction = tuple[int, int]  # operation, operand; none of these jumps


def bind_shared(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen at one address and port; port 0 lets the system choose. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(bind(host, sockets[0].getsockname()[1] if sockets else port, reuse_port=True))
            sockets[-1].listen(BACKLOG)  # in order: the n-th to listen is the n-th to be chosen
        if sys.platform == "linux" and count > 1:
            _attach(sockets[0], program(count, ipv6=":" in host))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def program(count: int, *, ipv6: bool) -> list[Instruction]:
    """Return what chooses one of `count` sockets by the client's network."""
    if ipv6:
        network = [
            (_LOAD_WORD, _NETWORK_HEADER + _IPV6_SOURCE),
            (_MULTIPLY, _GOLDEN),
            (_TO_X, 0),
            (_LOAD_WORD, _NETWORK_HEADER + _IPV6_SOURCE + 4),
            (_XOR_X, 0),
        ]
    else:
        network = [(_LOAD_WORD, _NETWORK_HEADER + _IPV4_SOURCE), (_AND, 0xFFFFFF00)]
    return [*network, (_MULTIPLY, _GOLDEN), (_SHIFT_RIGHT, 16), (_MODULO, count), (_RETURN, 0)]


def _attach(bound: socket.socket, instructions: list[Instruction]) -> None:
    octets = b"".join(struct.pack("=HBBI", operation, 0, 0, operand) for operation, operand in instructions)
    kept = ctypes.create_string_buffer(octets, len(octets))
    bound.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(instructions), ctypes.addressof(kept))
    )
