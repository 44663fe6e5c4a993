"""What a domain's gateway makes of mail, read and made by OpenSSL and GnuPG: signing, opening, lists, enrolment, OCSP."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.people import ADA, BRUNO, CHIYO, DAFYDD, certificate_for, enrolled, ring_of, signer_of
from gateway.two_domains import Lab, command, identifier, message, two_domains
from letterlock.admd.settings import Settings
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.build import Binary, build
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509 import pem
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime.unwrap import unwrap

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

TEAM, CA = "team@rosewood.test", "ca@rosewood.test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """A list and a registrar at rosewood; Bruno has RSA keys, as gpgsm wants them."""
    smime: dict[str, Any] = {
        "smime": {"password_file": "smime.password"},
        "registrar": {"password_file": "ca.password", "listen": ["127.0.0.1:0"]},
        "assess": {"smime_anchors": "anchors.pem"},
    }
    lists = [{"address": TEAM, "owner": ADA, "members": [BRUNO, CHIYO], "posters": "anyone"}]
    rosewood = smime | {"lists": lists, "registrar": smime["registrar"] | {"address": CA}}
    prepare = enrolled({"rosewood.test": (ADA, TEAM), "harbor.test": (CHIYO,)})

    def with_rsa(lab: Lab, settings: Settings) -> None:
        prepare(lab, settings)
        if len(lab.settings) == 2:
            folder = str(lab.folder("rosewood.test"))
            command("account", "smime", BRUNO, "--enrol", "--kind", "rsa2048", "--config", folder)

    folder = tmp_path_factory.mktemp("smime-path")
    async with two_domains(folder, {"rosewood.test": rosewood, "harbor.test": smime}, with_rsa) as lab:
        yield lab


async def run(*arguments: object, octets: bytes = b"", home: Path | None = None) -> bytes:
    """Run a program; returns its output."""
    environment = dict(os.environ) if home is None else {**os.environ, "GNUPGHOME": str(home)}

    def done() -> subprocess.CompletedProcess[bytes]:
        command = [str(each) for each in arguments]
        return subprocess.run(command, input=octets, capture_output=True, timeout=30, env=environment, check=False)

    found = await asyncio.to_thread(done)
    assert found.returncode == 0, (arguments, found.stderr.decode())
    return found.stdout + found.stderr


def anchor(lab: Lab, domain: str = "rosewood.test") -> Path:
    return lab.folder(domain) / "ca" / "ca.pem"


def key_files(lab: Lab, address: str, folder: Path, *, encryption: bool) -> tuple[Path, Path]:
    """Somebody's key and certificate as files."""
    key = ring_of(lab, address).own[0].key if encryption else signer_of(lab, address).key
    certificate = certificate_for(lab, address, encryption=encryption)
    (folder / "key.pem").write_bytes(key_pairs.dump(key, None))
    (folder / "certificate.pem").write_bytes(pem.encode("CERTIFICATE", certificate.octets))
    return folder / "key.pem", folder / "certificate.pem"


def certificate_file(lab: Lab, address: str, folder: Path) -> Path:
    file = folder / f"{address}.pem"
    file.write_bytes(pem.encode("CERTIFICATE", certificate_for(lab, address, encryption=True).octets))
    return file


async def account(lab: Lab, address: str, *options: str) -> None:
    await lab.run("account", "smime", address, *options, "--config", str(lab.folder(address.rpartition("@")[2])))


async def signed_by_openssl(lab: Lab, author: str, octets: bytes, folder: Path) -> bytes:
    """The entity of a message, signed in clear."""
    key, certificate = key_files(lab, author, folder, encryption=False)
    text = b"Content-Type: text/plain\r\n\r\n" + octets.partition(b"\r\n\r\n")[2]
    return await run("openssl", "cms", "-sign", "-signer", certificate, "-inkey", key, "-crlfeol", octets=text)


def addressed(octets: bytes, entity: bytes) -> bytes:
    """The entity under the fields of a message, with CRLF."""
    lines = entity.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n" + lines


async def test_openssl_verifies_what_the_gateway_signed(lab: Lab) -> None:
    """As it lies in the other domain's mailbox."""
    await account(lab, ADA, "--sign", "always")
    sent = message(ADA, DAFYDD)
    assert (await lab.submit(ADA, sent, DAFYDD))[0] == 250
    copy = await lab.arrived(DAFYDD, identifier(sent))
    shown = await run("openssl", "cms", "-verify", "-CAfile", anchor(lab), "-crlfeol", octets=copy)
    assert b"Dig on Monday." in shown
    assert b"Verification successful" in shown
    await account(lab, ADA, "--sign", "never")


async def test_gpgsm_verifies_what_the_gateway_signed(lab: Lab, tmp_path: Path) -> None:
    """RSA; the signed part and the signature beside it, as a mail program hands them over."""
    await account(lab, BRUNO, "--sign", "always")
    sent = message(BRUNO, DAFYDD)
    assert (await lab.submit(BRUNO, sent, DAFYDD))[0] == 250
    first, second = parse(await lab.arrived(DAFYDD, identifier(sent))).children
    (tmp_path / "text").write_bytes(first.raw)
    (tmp_path / "signature").write_bytes(second.content())
    home = Path(tempfile.mkdtemp(prefix="gpgsm"))  # short: its agent's socket lies there
    try:
        fingerprint = (await run("openssl", "x509", "-in", anchor(lab), "-noout", "-fingerprint", "-sha1")).decode()
        (home / "trustlist.txt").write_text(fingerprint.split("=")[1].strip() + " S relax\n")
        await run("gpgsm", "--batch", "--disable-crl-checks", "--import", anchor(lab), home=home)
        said = await run(
            "gpgsm", "--batch", "--disable-crl-checks", "--verify", tmp_path / "signature", tmp_path / "text", home=home
        )
        assert b"Good signature" in said
    finally:
        await run("gpgconf", "--kill", "all", home=home)
        shutil.rmtree(home, ignore_errors=True)
    await account(lab, BRUNO, "--sign", "never")


@pytest.mark.parametrize("cipher", ["-aes256", "-aes-256-gcm", "-aes128"])
async def test_the_gateway_opens_what_openssl_sealed(lab: Lab, tmp_path: Path, cipher: str) -> None:
    """Signed and encrypted with OpenSSL; what lies in the mailbox is verified by OpenSSL, and no encryption is left."""
    await account(lab, CHIYO, "--decrypt")
    sent = message(ADA, CHIYO)
    signed = await signed_by_openssl(lab, ADA, sent, tmp_path)
    sealed = await run("openssl", "cms", "-encrypt", cipher, certificate_file(lab, CHIYO, tmp_path), octets=signed)
    assert (await lab.submit(ADA, addressed(sent, sealed), CHIYO))[0] == 250
    copy = await lab.arrived(CHIYO, identifier(sent))
    assert read_header(copy).text("content-type").startswith("multipart/signed")
    shown = await run("openssl", "cms", "-verify", "-CAfile", anchor(lab), "-crlfeol", octets=copy)
    assert b"Dig on Monday." in shown
    assert "smime=pass" in read_header(copy).text("authentication-results")


async def test_openssl_reads_what_the_list_sends(lab: Lab, tmp_path: Path) -> None:
    """Made with OpenSSL for the list's key; Chiyo takes off the list's signature, the encryption, and Ada's signature."""
    await account(lab, CHIYO, "--no-decrypt")
    sent = message(ADA, TEAM)
    signed = await signed_by_openssl(lab, ADA, sent, tmp_path)
    sealed = await run("openssl", "cms", "-encrypt", "-aes256", certificate_file(lab, TEAM, tmp_path), octets=signed)
    assert (await lab.submit(ADA, addressed(sent, sealed), TEAM))[0] == 250
    copy = await lab.arrived(CHIYO, identifier(sent))
    (tmp_path / "copy").write_bytes(copy)
    await run("openssl", "cms", "-verify", "-CAfile", anchor(lab), "-crlfeol", "-in", tmp_path / "copy",
              "-out", tmp_path / "sealed")  # fmt: skip
    key, certificate = key_files(lab, CHIYO, tmp_path, encryption=True)
    await run("openssl", "cms", "-decrypt", "-recip", certificate, "-inkey", key, "-in", tmp_path / "sealed",
              "-out", tmp_path / "signed")  # fmt: skip
    shown = await run("openssl", "cms", "-verify", "-CAfile", anchor(lab), "-crlfeol", "-in", tmp_path / "signed")
    assert b"Dig on Monday." in shown


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        octets: bytes = response.read()
        return octets


async def test_openssl_enrols(lab: Lab, tmp_path: Path) -> None:
    """A request of OpenSSL's brings a certificate OpenSSL reads, verifies, and asks the responder about."""
    key, request = tmp_path / "new.key", tmp_path / "new.p10"
    await run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=Ada", "-outform", "DER",
              "-addext", f"subjectAltName=email:{ADA}", "-out", request)  # fmt: skip
    fields = [(each.name, each.text) for each in read_header(message(ADA, CA))]
    asking = build(Binary(request.read_bytes(), "application/pkcs10", "smime.p10"), fields, token="t")
    assert (await lab.submit(ADA, asking, CA))[0] == 250
    challenge = await lab.arrived(ADA, b"Confirm your certificate request")
    token = re.search(r"\b[0-9a-f]{40}\b", parse(challenge).text())
    assert token is not None
    assert (await lab.submit(ADA, message(ADA, CA, token[0]), CA))[0] == 250
    letter = await lab.arrived(ADA, b"smime-type=certs-only")
    (tmp_path / "new.p7c").write_bytes(base64.b64decode(letter.rpartition(b"\r\n\r\n")[2]))
    listed = await run("openssl", "pkcs7", "-inform", "DER", "-in", tmp_path / "new.p7c", "-print_certs")
    (found,) = [each for each in listed.split(b"subject=") if each.startswith(b"CN = Ada")]
    certificate = tmp_path / "new.pem"
    certificate.write_bytes(found[found.index(b"-----BEGIN") :])
    await run("openssl", "verify", "-purpose", "smimesign", "-verify_email", ADA, "-CAfile", anchor(lab), certificate)
    pages = f"http://{lab.admds['rosewood.test'].endpoints['registrar'][0]}"
    asked = (
        "openssl",
        "ocsp",
        "-issuer",
        anchor(lab),
        "-CAfile",
        anchor(lab),
        "-cert",
        certificate,
        "-url",
        f"{pages}/ocsp",
    )
    assert b": good" in await run(*asked)
    serial = (await run("openssl", "x509", "-in", certificate, "-noout", "-serial")).decode().strip().partition("=")[2]
    folder = lab.folder("rosewood.test")
    await lab.run(
        "ca", "revoke", serial.lower(), "--folder", str(folder / "ca"), "--password-file", str(folder / "ca.password")
    )
    assert b": revoked" in await run(*asked)
    (tmp_path / "list.crl").write_bytes(await asyncio.to_thread(fetched, f"{pages}/ca.crl"))
    said = await run(
        "openssl", "crl", "-inform", "DER", "-CAfile", anchor(lab), "-noout", "-text", "-in", tmp_path / "list.crl"
    )
    assert b"verify OK" in said
    assert serial.encode() in said
    assert unwrap(letter).layers
