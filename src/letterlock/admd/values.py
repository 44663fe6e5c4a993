"""The kinds of values in `letterlock.toml`: each is checked by itself, and what is wrong is said with the way to right it."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.protocols.smtp.command import SOLICITATION


def _domain(name: str) -> str:
    try:
        return domains.to_ascii(name)
    except Malformed as error:
        raise ValueError(f"{error.problem}; write a domain name such as example.org") from None


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and host[:1] != "["):
        raise ValueError("write ADDRESS:PORT, such as 0.0.0.0:25 or [::]:25")
    return text


def _near(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    host = split_endpoint(_endpoint(text))[0]
    try:
        near = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("write unix:PATH, or an IP address and port such as 127.0.0.1:24") from None
    if near.is_unspecified or not near.is_private:
        raise ValueError("this service is for servers nearby: write unix:PATH, or a loopback or inner address")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("write a network such as 192.0.2.0/24 or 2001:db8::/32") from None


def _ipv4_network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        raise ValueError("write an address such as 127.0.0.2 or a network such as 127.0.0.10/31") from None


def _filter_address(text: str) -> str:
    kind, _, place = text.partition(":")
    if kind == "unix" and place:
        return text
    if kind != "inet" or not place:
        raise ValueError("write inet:ADDRESS:PORT or unix:PATH")
    return f"inet:{_endpoint(place)}"


def _destination(text: str) -> str:
    if text == "*":
        return text
    star = "*." if text.startswith("*.") else ""
    return star + _domain(text.removeprefix("*."))


def _named(text: str) -> str:
    if "@" not in text:
        return _domain(text)
    try:
        return str(Address.parse(text)).lower()
    except Malformed:
        raise ValueError("write an address or a domain") from None


def _target(text: str) -> str:
    kind, _, rest = text.partition(":")
    if text == "mx" or (kind == "refuse" and rest.strip()) or (kind == "lmtp" and rest.startswith("unix:/")):
        return text
    host, colon, port = rest.rpartition(":") if rest[:1] != "[" or rest[-1:] != "]" else (rest, "", "")
    is_whole = bool(host or port) and (not colon or (port.isdigit() and 0 < int(port) <= 65535))
    if kind not in ("smtp", "smtps", "lmtp") or not is_whole or (kind == "lmtp" and not colon):
        raise ValueError(
            "write smtp:HOST[:PORT], smtps:HOST[:PORT], lmtp:HOST:PORT, lmtp:unix:PATH, mx or refuse:REASON"
        )
    return text


def split_host(text: str) -> tuple[str, int]:
    """Return the host, an IPv6 address without its brackets, and the port of `HOST[:PORT]`; 0 where none is named."""
    host, colon, port = (text, "", "0") if text.endswith("]") or ":" not in text else text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != (host[:1] == "[") or not port.isdigit() or (colon and not 0 < int(port) <= 65535):
        raise ValueError("write HOST or HOST:PORT, an IPv6 address in brackets")
    return bare, int(port)


def _host_and_port(text: str) -> str:
    if text:
        split_host(text)
    return text


HostAndPort = Annotated[str, AfterValidator(_host_and_port)]
Destination = Annotated[str, AfterValidator(_destination)]
Named = Annotated[str, AfterValidator(_named)]
RouteTarget = Annotated[str, AfterValidator(_target)]


def _mail_address(text: str) -> str:
    try:
        return str(Address.parse(text))
    except Malformed as error:
        raise ValueError(f"{error.problem}; write an address such as list@example.org") from None


def _optional_address(text: str) -> str:
    return _mail_address(text) if text else ""


MailAddress = Annotated[str, AfterValidator(_mail_address)]
OptionalAddress = Annotated[str, AfterValidator(_optional_address)]


def _solicitation_class(text: str) -> str:
    if not SOLICITATION.fullmatch(text) or "," in text:
        raise ValueError("write a class of solicitation such as net.example:ADV")
    return text


DomainName = Annotated[str, AfterValidator(_domain)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Endpoints = list[Endpoint]
Near = Annotated[str, AfterValidator(_near)]
Network = Annotated[str, AfterValidator(_network)]
Ipv4Network = Annotated[str, AfterValidator(_ipv4_network)]
FilterAddress = Annotated[str, AfterValidator(_filter_address)]
SolicitationClass = Annotated[str, AfterValidator(_solicitation_class)]


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Return the address, without brackets, and the port of an `ADDRESS:PORT`."""
    host, _, port = endpoint.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
