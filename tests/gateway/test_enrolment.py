"""A domain's certification authority at work in its server: by mail, by HTTP and in the domain's zone."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import dns.message
import dns.query
import pytest
import pytest_asyncio

from gateway.people import ADA, BRUNO, CHIYO, DAFYDD, enrolled
from gateway.two_domains import Lab, message, two_domains
from letterlock.admd.smime_files import open_key_store
from letterlock.formats.address import Address
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.build import Binary, build
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509 import request as requests
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.ocsp import CertificateStatus, OcspResponse, encode_request
from letterlock.registrar.folder import certificate_of
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.pkix import ocsp_check, path
from letterlock.trust.pkix.path import Anchor, Pool
from letterlock.trust.primitives import key_pairs, signatures
from letterlock.trust.smime.unwrap import unwrap

CA, HARBOR_CA = "ca@rosewood.test", "ca@harbor.test"
SHARED = pytest.mark.asyncio(loop_scope="module")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Rosewood takes an answered challenge for enough and serves its own zone, too; harbor asks an administrator."""
    registrar = {"password_file": "ca.password", "listen": ["127.0.0.1:0"]}
    publish = {"listen": [f"127.0.0.1:{free_port()}"], "name_servers": ["ns.rosewood.test"], "addresses": ["127.0.0.1"]}
    more: dict[str, dict[str, Any]] = {
        "rosewood.test": {
            "smime": {"password_file": "smime.password"},
            "registrar": registrar | {"address": CA},
            "publish": publish,
        },
        "harbor.test": {"registrar": registrar | {"address": HARBOR_CA, "approval": "administrator"}},
    }
    folder = tmp_path_factory.mktemp("enrolment")
    async with two_domains(folder, more, enrolled({})) as lab:
        yield lab


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def asking(author: str, authority: str, *addresses: str) -> bytes:
    """A message with a request for a certificate."""
    key = key_pairs.generate("p256")
    scheme = signatures.scheme_for(key.public)
    usages = frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT})
    made = requests.make(Name.make(CN="Somebody"), addresses, key.public, usages, signatures.algorithm_of(scheme),
                         lambda octets: signatures.sign(key, scheme, octets))  # fmt: skip
    plain = message(author, authority)
    fields = [(each.name, each.text) for each in read_header(plain)]
    return build(Binary(made.octets, "application/pkcs10", "smime.p10"), fields, token="t")


async def answered(lab: Lab, person: str, authority: str, challenge: bytes) -> bytes:
    """Answer a challenge as a person would; return the answer."""
    token = re.search(r"\b[0-9a-f]{40}\b", parse(challenge).text())
    assert token is not None
    answer = message(person, authority, f"> {token[0]}", subject="Re: " + read_header(challenge).text("subject"))
    assert (await lab.submit(person, answer, authority))[0] == 250
    return answer


def got(lab: Lab, domain: str, what: str, body: bytes | None = None) -> bytes:
    """What the authority's pages give."""
    endpoint = lab.admds[domain].endpoints["registrar"][0]
    with urllib.request.urlopen(f"http://{endpoint}{what}", body, timeout=10) as response:
        octets: bytes = response.read()
        return octets


async def certificate_in(lab: Lab, octets: bytes, domain: str) -> Certificate:
    """The certificate a certs-only message brings, which leads to the domain's anchor."""
    found = [Certificate.parse(each) for each in unwrap(octets).certificates]
    (certificate,) = [each for each in found if each.addresses]
    anchor = Anchor.of(certificate_of(lab.folder(domain) / "ca"))
    path.find(certificate, Pool(), (anchor,), now())
    return certificate


@SHARED
async def test_a_certificate_by_mail_and_its_life(lab: Lab) -> None:
    """Asked, challenged, answered, received; published in the zone; good by OCSP; revoked, and all of it says so."""
    request = asking(ADA, CA, ADA)
    assert (await lab.submit(ADA, request, CA))[0] == 250
    challenge = await lab.arrived(ADA, b"Confirm your certificate request")
    assert read_header(challenge).text("auto-submitted") == "auto-replied"
    assert challenge.startswith(b"Return-Path: <>\r\n")
    await answered(lab, ADA, CA, challenge)
    letter = await lab.arrived(ADA, b"smime-type=certs-only")
    certificate = await certificate_in(lab, letter, "rosewood.test")
    assert certificate.addresses == (ADA,)
    await lab.settled()

    authority = certificate_of(lab.folder("rosewood.test") / "ca")
    assert await asyncio.to_thread(got, lab, "rosewood.test", "/ca.cer") == authority.octets
    name = ocsp_check.certificate_id(authority.subject, authority.public_key, certificate.serial)
    asked = encode_request((name,))
    below = "/ocsp/" + urllib.parse.quote(base64.b64encode(asked).decode(), safe="")

    async def statuses() -> set[CertificateStatus]:
        posted = await asyncio.to_thread(got, lab, "rosewood.test", "/ocsp", asked)
        fetched = await asyncio.to_thread(got, lab, "rosewood.test", below)
        return {OcspResponse.parse(each).responses[0].status for each in (posted, fetched)}

    assert await statuses() == {CertificateStatus.GOOD}
    first = RevocationList.parse(await asyncio.to_thread(got, lab, "rosewood.test", "/ca.crl"))
    assert not first.entries
    await until_published(lab, ADA, {certificate.octets})
    store = open_key_store(lab.settings["rosewood.test"])
    assert certificate in [each.certificate for each in store.certificates(ADA)]
    store.close()

    folder = lab.folder("rosewood.test")
    options = ("--folder", str(folder / "ca"), "--password-file", str(folder / "ca.password"))
    await lab.run("ca", "revoke", f"{certificate.serial:x}", "--reason", "key-compromise", *options)
    assert await statuses() == {CertificateStatus.REVOKED}
    second = RevocationList.parse(await asyncio.to_thread(got, lab, "rosewood.test", "/ca.crl"))
    assert [serial for _, serial in second.entries] == [certificate.serial]
    assert second.number is not None
    assert first.number is not None
    assert second.number > first.number
    again = RevocationList.parse(await asyncio.to_thread(got, lab, "rosewood.test", "/ca.crl"))
    assert again.number == second.number
    await until_published(lab, ADA, set())


async def until_published(lab: Lab, address: str, expected: set[bytes]) -> None:
    """Wait until the zone says what it should."""
    for _ in range(1000):
        if await published(lab, address) == expected:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"published is {await published(lab, address)}")


async def published(lab: Lab, address: str) -> set[bytes]:
    """What rosewood's own name server says of somebody's certificates."""
    host, _, port = lab.settings["rosewood.test"].publish.listen[0].rpartition(":")
    query = dns.message.make_query(smimea_name(Address.parse(address)), "SMIMEA")
    answer = await asyncio.to_thread(dns.query.tcp, query, host, 10, int(port))
    return {record.cert for found in answer.answer for record in found}


@SHARED
async def test_only_who_has_the_address_gets_its_certificate(lab: Lab) -> None:
    """Chiyo asks for Bruno's: Bruno is asked. She asks for her own of the wrong authority: she is told why not."""
    assert (await lab.submit(CHIYO, asking(CHIYO, CA, BRUNO), CA))[0] == 250
    assert b"Somebody asks for a certificate for bruno@rosewood.test" in await lab.arrived(BRUNO, b"Confirm your")
    assert (await lab.submit(CHIYO, asking(CHIYO, CA, CHIYO), CA))[0] == 250
    refusal = parse(await lab.arrived(CHIYO, b"Subject: Certificate request refused")).text()
    assert "chiyo@harbor.test is not an address of rosewood.test" in refusal.replace("\r\n", " ")
    await lab.settled()


@SHARED
async def test_an_administrator_decides(lab: Lab) -> None:
    """The answered challenge waits; approved by command, the certificate comes by mail; refused, the reason does."""
    folder = lab.folder("harbor.test")
    options = ("--folder", str(folder / "ca"), "--password-file", str(folder / "ca.password"))
    for person in (CHIYO, DAFYDD):
        assert (await lab.submit(person, asking(person, HARBOR_CA, person), HARBOR_CA))[0] == 250
        challenge = await lab.arrived(person, b"Confirm your certificate request")
        await answered(lab, person, HARBOR_CA, challenge)
        assert b"now waits for an administrator" in await lab.arrived(person, b"Certificate request confirmed")
    listed = json.loads((await lab.run("ca", "list", *options, "--json")).output)["requests"]
    numbers = {each["addresses"][0]: each["request"] for each in listed}
    assert {each["state"] for each in listed} == {"confirmed"}
    await lab.run("ca", "approve", str(numbers[CHIYO]), *options)
    await lab.run("ca", "refuse", str(numbers[DAFYDD]), "Come by in person", *options)
    certificate = await certificate_in(lab, await lab.arrived(CHIYO, b"certs-only"), "harbor.test")
    assert certificate.addresses == (CHIYO,)
    assert "Come by in person" in parse(await lab.arrived(DAFYDD, b"Subject: Certificate request refused")).text()
    await lab.settled()


@SHARED
async def test_who_must_sign_may_ask_for_the_key(lab: Lab) -> None:
    """What is to be signed and cannot be goes to the authority, and to nobody beside it."""
    folder = str(lab.folder("rosewood.test"))
    await lab.run("account", "smime", BRUNO, "--sign", "always", "--config", folder)
    assert (await lab.submit(BRUNO, asking(BRUNO, CA, BRUNO), CA.upper()))[0] == 250
    await lab.arrived(BRUNO, b"Confirm your")
    for recipients in ((ADA,), (CA, ADA)):
        code, text = await lab.submit(BRUNO, asking(BRUNO, CA, BRUNO), *recipients)
        assert (code, text[:5]) == (550, b"5.7.5")
    await lab.run("account", "smime", BRUNO, "--sign", "never", "--config", folder)
    await lab.settled()


@SHARED
async def test_garbage_at_the_authority(lab: Lab) -> None:
    """Whatever comes is answered once or not at all, and nothing stays in the queue."""
    for made in (
        message(ADA, CA, "hello"),
        message(ADA, CA, "0" * 40),
        message(ADA, CA, Auto_Submitted="auto-replied"),
        build(Binary(b"\x30\x80" * 500, "application/pkcs10", "x.p10"), [("From", ADA), ("To", CA)], token="t"),
    ):
        assert (await lab.submit(ADA, made, CA))[0] == 250
        await lab.settled()
    for garbage in (b"", b"\x30\x80" * 1000):
        answer = await asyncio.to_thread(got, lab, "rosewood.test", "/ocsp", garbage)
        assert answer == b"\x30\x03\x0a\x01\x01"  # RFC 6960: malformedRequest
