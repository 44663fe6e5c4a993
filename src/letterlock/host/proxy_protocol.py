"""The PROXY protocol: a trusted load balancer says first who the client is.

The header is read from the socket before anything else, peeked at first, so that not one octet of what follows it (a TLS
handshake, a command) is taken. `read_header` is the pure part; versions 1 (text) and 2 (binary) are understood.

Limits: 107 octets for version 1; for version 2 what the header says, at most 4 KB. Only from the networks the listener was
told to trust; from these the header must come.
Standards: the PROXY protocol specification of HAProxy, versions 1 and 2, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass

from letterlock.errors import PeerFault

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_TEXT = 107
_LONGEST_BINARY = 4096
_TEXT = re.compile(rb"PROXY (?:(UNKNOWN)[^\r]*|TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5}))\r\n")


@dataclass(frozen=True, slots=True)
class Proxied:
    """What the header said: the client's address and port, empty for a check by the balancer itself."""

    host: str
    port: int
    length: int


def read_header(octets: bytes) -> Proxied | None:
    """Return what the header at the start of `octets` says, or None before its end. Raises PeerFault."""
    if octets[:12] == _SIGNATURE[: len(octets)]:
        return _read_binary(octets) if len(octets) >= 16 else None
    if b"PROXY "[: len(octets)] != octets[:6]:
        raise PeerFault("no PROXY header came first")
    end = octets.find(b"\n", 0, _LONGEST_TEXT)
    if end < 0:
        if len(octets) >= _LONGEST_TEXT:
            raise PeerFault("a PROXY header without end")
        return None
    match = _TEXT.fullmatch(octets[: end + 1])
    if match is None:
        raise PeerFault("a PROXY header that is not understood")
    if match[1]:
        return Proxied("", 0, end + 1)
    return Proxied(_address(match[3].decode(), int(match[2])), _port(int(match[5])), end + 1)


def _read_binary(octets: bytes) -> Proxied | None:
    version_and_command, family, length = struct.unpack_from("!BBH", octets, 12)
    if version_and_command >> 4 != 2 or version_and_command & 15 > 1 or length > _LONGEST_BINARY:
        raise PeerFault("a PROXY header that is not understood")
    if len(octets) < 16 + length:
        return None
    if version_and_command & 15 == 0:  # LOCAL
        return Proxied("", 0, 16 + length)
    if family == 0x11 and length >= 12:
        return Proxied(str(ipaddress.IPv4Address(octets[16:20])), int.from_bytes(octets[24:26]), 16 + length)
    if family == 0x21 and length >= 36:
        return Proxied(str(ipaddress.IPv6Address(octets[16:32])), int.from_bytes(octets[48:50]), 16 + length)
    return Proxied("", 0, 16 + length)


def peek(connection: socket.socket) -> Proxied | None:
    """Return the header that has come on a non-blocking socket and take it, or None before its end. Raises PeerFault."""
    try:
        octets = connection.recv(16 + _LONGEST_BINARY, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError as error:
        raise PeerFault(f"the connection was lost before a PROXY header: {error.strerror}") from None
    if not octets:
        raise PeerFault("the connection ended before a PROXY header")
    header = read_header(octets)
    if header is not None:
        connection.recv(header.length)
    return header


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise PeerFault("a PROXY header with no address") from None
    if address.version != version:
        raise PeerFault("a PROXY header with an address of the other kind")
    return str(address)


def _port(number: int) -> int:
    if number > 65535:
        raise PeerFault("a PROXY header with no port")
    return number
