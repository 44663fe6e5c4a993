"""A domain signs, verifies and decrypts for accounts that ask, between two domains over real connections."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.two_domains import Lab, founded_authority, message, two_domains
from letterlock.admd.settings import Settings
from letterlock.admd.smime import open_key_store
from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.ledger import Ledger
from letterlock.registrar import usable
from letterlock.registrar.folder import certificate_of
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime import protect
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.proof import Proof, Trust, verify_message
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import EncryptedLayer, unwrap

ADA, BRUNO = "ada@rosewood.test", "bruno@rosewood.test"
CHIYO, DAFYDD = "chiyo@harbor.test", "dafydd@harbor.test"
SMIME: dict[str, Any] = {
    "smime": {"password_file": "smime.password"},
    "registrar": {"password_file": "ca.password"},
    "assess": {"smime_anchors": "anchors.pem"},
}


def prepare(lab: Lab, settings: Settings) -> None:
    """Each domain has an authority; both trust both."""
    founded_authority(settings)
    if settings.domain == "harbor.test":
        both = b"".join((lab.folder(domain) / "ca" / "ca.pem").read_bytes() for domain in lab.settings)
        for domain in lab.settings:
            (lab.folder(domain) / "anchors.pem").write_bytes(both)


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Lab]:
    async with two_domains(folder, {"rosewood.test": SMIME, "harbor.test": SMIME}, prepare) as lab:
        yield lab


async def account(lab: Lab, address: str, *options: str) -> dict[str, Any]:
    folder = lab.folder(address.rpartition("@")[2])
    result = await lab.run("account", "smime", address, *options, "--config", str(folder), "--json")
    found: dict[str, Any] = json.loads(result.output)
    return found


def certificate_for(lab: Lab, address: str, *, encryption: bool) -> Certificate:
    store = open_key_store(lab.settings[address.rpartition("@")[2]])
    found = [each.certificate for each in store.certificates(address) if each.own]
    store.close()
    return next(each for each in found if ("agreement" in str(each.extensions.key_usage).lower()) is encryption)


def proof_of(lab: Lab, octets: bytes, domain: str) -> Proof:
    """What somebody who trusts the authority of `domain` sees."""
    anchor = Anchor.of(certificate_of(lab.folder(domain) / "ca"))
    return verify_message(octets, unwrap(octets), Trust(datetime.datetime.now(datetime.UTC), (anchor,)))


async def test_signed_on_the_way_out_and_verified_on_the_way_in(tmp_path: Path) -> None:
    """Ada's mail arrives signed as hers, under a DKIM signature that holds; the other domain tells what it proves."""
    async with serving(tmp_path) as lab:
        value = await account(lab, ADA, "--sign", "always", "--enrol")
        assert value["sign"] == "always"
        assert value["signs_with"]
        assert value["problem"] == ""
        code, text = await lab.submit(ADA, message(ADA, CHIYO, "Grüße"), CHIYO)
        assert code == 250, text
        (copy,) = await lab.inbox(CHIYO)
        proof = proof_of(lab, copy, "rosewood.test")
        assert proof.good, proof
        assert "subject" in [name.lower() for name in proof.protected_fields]
        results = read_header(copy).text("authentication-results")
        assert "dkim=pass" in results
        assert "smime=pass" in results
        assert f"body.smime-identifier={ADA}" in results
        ledger = Ledger.open(lab.folder("harbor.test") / "data" / "ledger.sqlite")
        (entry,) = ledger.read(kind="assessed")
        ledger.close()
        smime = entry.facts["smime"]
        assert isinstance(smime, dict)
        assert smime["result"] == "pass"
        assert "The holder of ada@rosewood.test's certificate signed" in str(smime["sentence"])
        # the author's certificate was kept for later
        store = open_key_store(lab.settings["harbor.test"])
        assert [each.source for each in store.certificates(ADA)] == ["signed mail"]
        store.close()


async def test_what_cannot_be_signed(tmp_path: Path) -> None:
    """Refused with the reason where signing is demanded, unsigned only where it was wished "if possible"."""
    async with serving(tmp_path) as lab:
        await account(lab, ADA, "--sign", "always")
        code, text = await lab.submit(ADA, message(ADA, BRUNO), BRUNO)
        assert (code, text[:5]) == (550, b"5.7.5")
        assert b"there is no key with a certificate for ada@rosewood.test" in text
        await account(lab, ADA, "--sign", "if-possible")
        assert (await lab.submit(ADA, message(ADA, BRUNO), BRUNO))[0] == 250
        (copy,) = await lab.inbox(BRUNO)
        assert not proof_of(lab, copy, "rosewood.test").signers


@pytest.mark.parametrize("opaque", [True, False])
async def test_opened_on_the_way_in(tmp_path: Path, opaque: bool) -> None:
    """What comes encrypted to Chiyo lies in her mailbox readable, its signature kept; the original where she wishes."""
    async with serving(tmp_path) as lab:
        await account(lab, ADA, "--enrol")
        await account(lab, CHIYO, "--decrypt", "--keep-original", "--enrol")
        rosewood = open_key_store(lab.settings["rosewood.test"])
        signing = certificate_for(lab, ADA, encryption=False)
        assert usable.to_sign_with(rosewood, ADA, datetime.datetime.now(datetime.UTC)) == signing
        signer = Signer(rosewood.key(public_keys.key_id(signing.public_key).hex()), signing)
        rosewood.close()
        now = datetime.datetime.now(datetime.UTC)
        signed = protect.sign_message(
            message(ADA, CHIYO, subject="Secret beds"), (signer,), now, opaque=opaque, protect_header=True, token="t"
        )
        sealed = protect.encrypt_message(
            signed, (To(certificate_for(lab, CHIYO, encryption=True)),), protect_header=True
        )
        assert b"Secret beds" not in sealed
        forged = b"Authentication-Results: mail.harbor.test; smime=pass body.smime-identifier=eve@x.test\r\n" + sealed
        assert (await lab.submit(ADA, forged, CHIYO, DAFYDD))[0] == 250
        (copy,) = await lab.inbox(CHIYO)
        assert b"Dig on Monday." in copy
        assert read_header(copy).text("subject") == "Secret beds"
        assert read_header(copy).text("content-type").startswith("multipart/signed")
        proof = proof_of(lab, copy, "rosewood.test")
        assert proof.good, proof
        first, *others = [each.text for each in read_header(copy).get_all("authentication-results")]
        assert "smime=pass" in first
        assert f"body.smime-identifier={ADA}" in first
        assert "dkim=pass" in others[0]
        assert "eve@x.test" not in copy.decode()
        (original,) = await lab.inbox(CHIYO, "Encrypted")
        (untouched,) = await lab.inbox(DAFYDD)
        for each in (original, untouched):
            assert b"Dig on Monday." not in each
            assert isinstance(unwrap(each).layers[0], EncryptedLayer)
        ledger = Ledger.open(lab.folder("harbor.test") / "data" / "ledger.sqlite")
        (entry,) = ledger.read(kind="smime")
        ledger.close()
        assert (entry.facts["account"], entry.facts["done"]) == (CHIYO, "decrypted")


async def test_what_is_not_opened(tmp_path: Path) -> None:
    """Cipher text that shows no changes and has no signature inside, damage, and mail for others: as it came."""
    async with serving(tmp_path) as lab:
        await account(lab, CHIYO, "--decrypt", "--enrol")
        await account(lab, DAFYDD, "--enrol")
        plain = message(ADA, CHIYO)
        to = To(certificate_for(lab, CHIYO, encryption=True))
        cbc = protect.encrypt_message(plain, (to,), cipher=oids.AES256_CBC)
        others = protect.encrypt_message(plain, (To(certificate_for(lab, DAFYDD, encryption=True)),))
        good = protect.encrypt_message(plain, (to,))
        head, _, body = good.partition(b"\r\n\r\n")
        damaged = head + b"\r\n\r\n" + body[:200] + b"AAAA" + body[204:]
        cut = head + b"\r\n\r\n" + body[:400] + b"\r\n"
        for number, each in enumerate((cbc, others, damaged, cut), 1):
            assert (await lab.submit(ADA, each, CHIYO))[0] == 250
            copies = await lab.inbox(CHIYO, at_least=number)
            assert copies[-1].endswith(each.partition(b"\r\n\r\n")[2])
        assert (await lab.submit(ADA, good, CHIYO))[0] == 250
        copies = await lab.inbox(CHIYO, at_least=5)
        assert b"Dig on Monday." in copies[-1]
        await lab.settled()
