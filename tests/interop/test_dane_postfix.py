"""Mail to a Postfix with right and wrong TLSA records, from a signed zone that we serve and validate ourselves."""

import contextlib
import datetime
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench._postfix import postfix
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.formats.address import Address
from letterlock.formats.dns import rdata_text
from letterlock.formats.dns.rdata import Tlsa
from letterlock.formats.dns.zone import Zone
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.iterate import IterativeSource
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.tree import ZonePlan, anchors_of, sign_tree
from letterlock.lab import dns_tree
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import RoutingSettings
from letterlock.trust.dane.records import associate
from letterlock.trust.dnssec.sign import SigningKey
from letterlock.trust.primitives import peer_chain
from letterlock.trust.primitives.server_certificates import Identity, Validity, authority, server

pytestmark = pytest.mark.interop

YEAR = Validity(datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1), datetime.timedelta(days=365))
CA = authority("A root", YEAR, 1)
OTHER = authority("Another root", YEAR, 2)
HOST = server(("mail.harbor.test",), YEAR, 3, CA)
MISNAMED = server(("mail.elsewhere.test",), YEAR, 4, CA)
MAIL = Envelope(Address("ada", "rosewood.test"), (Recipient(Address("bob", "harbor.test")),))


def _tlsa(usage: int, selector: int, matching_type: int, identity: Identity) -> Tlsa:
    der = x509.load_pem_x509_certificate(identity.certificate).public_bytes(Encoding.DER)
    found = peer_chain.read(der)
    return Tlsa(usage, selector, matching_type, associate(found.der, found.public_key, selector, matching_type))


@contextlib.asynccontextmanager
async def _sender(port: int, *records: Tlsa, signed: bool = True, forged: bool = False) -> AsyncIterator[Outbound]:
    body = "@ IN SOA ns.test. h 1 1 1 1 60\n@ IN NS ns.test.\n@ IN MX 10 mail\nmail IN A 127.0.0.1\n"
    body += "".join(f"_{port}._tcp.mail IN TLSA {rdata_text.write(record)}\n" for record in records)
    keys = (SigningKey.generate(),) if signed else ()
    root, top = dns_tree.parent_plans()
    top = ZonePlan(Zone.parse(top.zone.text() + "harbor.test. 60 IN NS ns.test.\n", "test"), top.keys)

    def forge(zone: Zone) -> Zone:
        changed = _tlsa(3, 1, 1, OTHER)
        text = zone.text().replace(rdata_text.write(records[0]), rdata_text.write(changed))
        return Zone.parse(text, "harbor.test")

    harbor = ZonePlan(Zone.parse(body, "harbor.test"), keys, finish=forge if forged else None)
    zones = sign_tree([root, top, harbor], int(time.time()))
    names = NameServer(zones)
    dns_port = await names.listen("127.0.0.1")
    exchange = Exchange()
    anchors = anchors_of(next(zone for zone in zones if zone.origin == b"\0"))
    resolver = ValidatingResolver(IterativeSource(exchange, [Server("127.0.0.1", dns_port)], port=dns_port), anchors)
    before = send_to(lambda _line: None)
    outbound = Outbound(
        OutboundSettings("mx.rosewood.test", RoutingSettings(frozenset(), port=port)),
        resolver=resolver,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        log=Log("test"),
    )
    try:
        yield outbound
    finally:
        await outbound.close()
        send_to(before)
        await exchange.aclose()
        await names.aclose()


async def _send(port: int, *records: Tlsa, signed: bool = True, forged: bool = False) -> Outcome:
    async with _sender(port, *records, signed=signed, forged=forged) as outbound:
        (outcome,) = await outbound.deliver(MAIL, b"Subject: x\r\n\r\nhello\r\n")
        return outcome


def _settings(folder: Path, identity: Identity | None) -> str:
    more = (
        "mydestination = harbor.test\nlocal_transport = discard\nsmtpd_relay_restrictions = reject_unauth_destination\n"
    )
    if identity is None:
        return more + "smtpd_tls_security_level = none\n"
    (folder / "chain.pem").write_bytes(identity.certificate + CA.certificate)
    (folder / "key.pem").write_bytes(identity.key)
    files = f"smtpd_tls_cert_file = {folder}/chain.pem\nsmtpd_tls_key_file = {folder}/key.pem\n"
    return more + files + "smtpd_tls_security_level = may\n"


async def test_mail_goes_where_the_records_are_right(tmp_path: Path) -> None:
    """DANE-EE and DANE-TA that fit are delivered by; without records or signatures TLS is opportunistic."""
    with postfix(tmp_path / "postfix", _settings(tmp_path, HOST)) as port:
        for records in ([_tlsa(3, 1, 1, HOST)], [_tlsa(2, 0, 1, CA)], [_tlsa(3, 0, 2, HOST), _tlsa(3, 1, 1, OTHER)]):
            outcome = await _send(port, *records)
            assert (outcome.result, "dane" in outcome.security) == (Result.RELAYED, True), outcome
        for outcome in (await _send(port), await _send(port, _tlsa(3, 1, 1, OTHER), signed=False)):
            assert (outcome.result, "may" in outcome.security) == (Result.RELAYED, True), outcome
        # RFC 7672 section 2.2.3: records that cannot be used still demand TLS.
        outcome = await _send(port, _tlsa(1, 1, 1, HOST))
        assert (outcome.result, "TLS" in outcome.security) == (Result.RELAYED, True), outcome


async def test_mail_waits_where_the_records_are_wrong(tmp_path: Path) -> None:
    """A certificate that does not fit, or records that do not verify, defer: never less security, never a bounce."""
    with postfix(tmp_path / "postfix", _settings(tmp_path, HOST)) as port:
        for records in ([_tlsa(3, 1, 1, OTHER)], [_tlsa(2, 0, 1, OTHER)], [_tlsa(2, 0, 1, HOST)]):
            outcome = await _send(port, *records)
            assert (outcome.result, outcome.status[:3]) == (Result.DEFERRED, "4.7"), outcome
        outcome = await _send(port, _tlsa(3, 1, 1, HOST), forged=True)
        assert (outcome.result, "signature" in outcome.reply) == (Result.DEFERRED, True), outcome


async def test_the_name_counts_for_an_authority_and_not_for_a_key(tmp_path: Path) -> None:
    with postfix(tmp_path / "postfix", _settings(tmp_path, MISNAMED)) as port:
        assert (await _send(port, _tlsa(2, 0, 1, CA))).result is Result.DEFERRED
        assert (await _send(port, _tlsa(3, 1, 1, MISNAMED))).result is Result.RELAYED


async def test_a_server_that_promised_tls_gets_no_plain_text(tmp_path: Path) -> None:
    with postfix(tmp_path / "postfix", _settings(tmp_path, None)) as port:
        assert (await _send(port, _tlsa(3, 1, 1, HOST))).result is Result.DEFERRED
        assert (await _send(port, _tlsa(0, 1, 1, CA))).result is Result.DEFERRED
        assert (await _send(port)).result is Result.RELAYED
