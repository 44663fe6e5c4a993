"""The Received field that each of our servers puts before a message, and what the ones before it tell of loops.

Standards: RFC 5321 section 4.4 (trace information), section 6.3 (loops), RFC 3848 (with ESMTPSA ...), RFC 8314 section
4.3 (the tls clause).
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import re

from letterlock.formats.envelope import Envelope
from letterlock.formats.imf.dates import write_date
from letterlock.host.tls import TlsState

MOST_HOPS = 50  # RFC 5321 section 6.3 asks for at least 100 hops to be let through only as a large number
_TCP_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Za-z:.]+\]")
_SUITE = re.compile(r"(ECDHE|DHE)-(ECDSA|RSA)-(AES128|AES256|CHACHA20)-(GCM|POLY1305|SHA)-?(SHA\d+)?")


def received_field(
    *,
    client_name: str,
    client_address: str,
    host_name: str,
    protocol: str,
    tls: TlsState | None,
    transaction_id: str,
    envelope: Envelope,
    now: float,
    reverse_name: str = "",
) -> bytes:
    """Return a whole Received field with its line end.

    The recipient is named only where there is one, so that nobody learns of another (RFC 5321 section 7.2).
    """
    # RFC 3865 section 2.6
    solicit = f" (SOLICIT={','.join(envelope.solicitation)})" if envelope.solicitation else ""
    suite = f"\r\n\ttls {cipher_suite(tls.cipher)} ({tls.version}, {tls.cipher_bits} bits)" if tls is not None else ""
    recipients = envelope.recipients
    alone = len(recipients) == 1 and not recipients[0].forward_path.needs_smtputf8
    recipient = f"\r\n\tfor <{recipients[0].forward_path}>" if alone else ""
    return (
        f"Received: from {_client(client_name, client_address, reverse_name)}\r\n\tby {host_name} with {protocol}{solicit}"
        f"{suite}\r\n\tid {transaction_id}{recipient};\r\n\t{_moment(int(now))}\r\n"
    ).encode()


def cipher_suite(name: str) -> str:
    """Return OpenSSL's name of a cipher suite as IANA writes it, the form that the tls clause asks for."""
    match = _SUITE.fullmatch(name)
    if match is None:
        return name.replace("-", "_")
    exchange, signature, cipher, mode, digest = match.groups()
    cipher = cipher.replace("AES", "AES_")
    if mode == "POLY1305":
        return f"TLS_{exchange}_{signature}_WITH_{cipher}_POLY1305_SHA256"
    middle = "GCM" if mode == "GCM" else "CBC"
    return f"TLS_{exchange}_{signature}_WITH_{cipher}_{middle}_{digest or 'SHA'}"


def count_hops(content: bytes) -> int:
    """Return how many Received fields the header section of `content` (or its beginning) holds."""
    end = content.find(b"\r\n\r\n")
    header = (b"\n" + (content if end < 0 else content[:end])).lower()
    return header.count(b"\nreceived:")


@functools.lru_cache(maxsize=16)
def _moment(second: int) -> str:
    return write_date(datetime.datetime.fromtimestamp(second, datetime.UTC))


@functools.lru_cache(maxsize=4096)
def _client(name: str, address: str, reverse_name: str) -> str:
    literal = _literal(address)
    seen = f"{reverse_name} {literal}" if reverse_name else literal
    return f"{_from_name(name, literal)} ({seen})"


def _literal(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "[local]"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return f"[IPv6:{parsed}]" if parsed.version == 6 else f"[{parsed}]"


def _from_name(name: str, address: str) -> str:
    # RFC 5321 section 4.4: the name of EHLO; one that is none would break the field apart.
    return name if len(name) <= 255 and _TCP_NAME.fullmatch(name) else address
