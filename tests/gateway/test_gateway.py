"""A domain signs, verifies and decrypts for accounts that ask, between two domains over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import smtplib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from gateway.two_domains import Lab, command, founded_authority, identifier, message, two_domains
from letterlock.admd import settings as admd_settings
from letterlock.admd.accounts import opened_accounts
from letterlock.admd.settings import Settings
from letterlock.admd.smime import Foundation, open_gateway
from letterlock.admd.smime_files import KEY_STORE_NAME, open_key_store
from letterlock.errors import SettingsFault
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.ledger import Ledger
from letterlock.registrar import usable
from letterlock.registrar.folder import certificate_of
from letterlock.registrar.gateway_accounts import GatewayAccount, GatewayAccounts, Signing
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime import labels, protect
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.proof import Proof, Trust, verify_message
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import EncryptedLayer, unwrap

ADA, BRUNO = "ada@rosewood.test", "bruno@rosewood.test"
CHIYO, DAFYDD = "chiyo@harbor.test", "dafydd@harbor.test"
SMIME: dict[str, Any] = {
    "smime": {"password_file": "smime.password", "signature_log": True},
    "registrar": {"password_file": "ca.password"},
    "assess": {"smime_anchors": "anchors.pem"},
}


def prepare(lab: Lab, settings: Settings) -> None:
    """Each domain has an authority; both trust both."""
    founded_authority(settings)
    if settings.domain == "harbor.test":
        (settings.folder / "labels.toml").write_text(LABELS)
        both = b"".join((lab.folder(domain) / "ca" / "ca.pem").read_bytes() for domain in lab.settings)
        for domain in lab.settings:
            (lab.folder(domain) / "anchors.pem").write_bytes(both)
        for address in (ADA, CHIYO, DAFYDD):
            folder = str(lab.folder(address.rpartition("@")[2]))
            command("account", "smime", address, "--enrol", "--config", folder)


LABELS = """
[policy.harbor]
oid = "1.2.3.4"
[policy.harbor.clearances]
"@harbor.test" = 1
"chiyo@harbor.test" = 3

[policy.lax]
oid = "1.2.3.5"
beyond = "deliver"
"""
SHARED = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """One lab for all tests here; each counts only what it sent."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        lmtp = f"127.0.0.1:{free.getsockname()[1]}"
    harbor = SMIME | {"smime": {"password_file": "smime.password", "labels": "labels.toml", "signature_log": True}}
    harbor["listen"] = {"lmtp": [lmtp]}
    more = {"rosewood.test": SMIME, "harbor.test": harbor}
    async with two_domains(tmp_path_factory.mktemp("gateway"), more, prepare) as lab:
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


async def fact(lab: Lab, kind: str, octets: bytes) -> dict[str, Any]:
    """What harbor's ledger says of a message, once it is written."""
    for _ in range(1000):
        ledger = Ledger.open(lab.folder("harbor.test") / "data" / "ledger.sqlite")
        found = [dict(entry.facts) for entry in ledger.read(kind=kind)]
        ledger.close()
        for each in found:
            if each["message_id"] == identifier(octets).decode():
                return each
        await asyncio.sleep(0.01)
    raise AssertionError(f"no entry {kind}")


def signer_of(lab: Lab, address: str) -> Signer:
    """The signer of an account, out of the key store."""
    store = open_key_store(lab.settings[address.rpartition("@")[2]])
    certificate = usable.to_sign_with(store, address, now())
    signer = Signer(store.key(public_keys.key_id(certificate.public_key).hex()), certificate)
    store.close()
    return signer


def sealed_for(lab: Lab, octets: bytes, *addresses: str, cipher: str = oids.AES256_GCM) -> bytes:
    to = tuple(To(certificate_for(lab, address, encryption=True)) for address in addresses)
    return protect.encrypt_message(octets, to, cipher=cipher, protect_header=True)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@SHARED
async def test_signed_on_the_way_out_and_verified_on_the_way_in(lab: Lab) -> None:
    """Ada's mail arrives signed as hers, under a DKIM signature that holds; the other domain tells what it proves."""
    value = await account(lab, ADA, "--sign", "always")
    assert (value["sign"], value["problem"]) == ("always", "")
    assert value["signs_with"]
    sent = message(ADA, DAFYDD, "Grüße")
    assert (await lab.submit(ADA, sent, DAFYDD))[0] == 250
    copy = await lab.arrived(DAFYDD, identifier(sent))
    proof = proof_of(lab, copy, "rosewood.test")
    assert proof.good, proof
    assert "subject" in [name.lower() for name in proof.protected_fields]
    results = read_header(copy).text("authentication-results")
    for expected in ("dkim=pass", "smime=pass", f"body.smime-identifier={ADA}"):
        assert expected in results
    found = await fact(lab, "assessed", sent)
    assert found["smime"]["result"] == "pass"
    assert "The holder of ada@rosewood.test's certificate signed" in found["smime"]["sentence"]
    # the author's certificates were kept, to verify and to encrypt (RFC 8551 section 2.5.3), and the signature was logged
    store = open_key_store(lab.settings["harbor.test"])
    assert [each.source for each in store.certificates(ADA)] == ["signed mail"] * 2
    store.close()
    folder = str(lab.folder("harbor.test"))
    listed = await lab.run(
        "keys", "signatures", "--config", folder, "--message-id", identifier(sent)[1:-1].decode(), "--json"
    )
    (logged,) = json.loads(listed.output)["signatures"]
    assert (logged["sent"], logged["address"]) == (False, ADA)
    assert logged["verdict"] == found["smime"]["sentence"]
    folder = str(lab.folder("rosewood.test"))
    listed = await lab.run("keys", "signatures", "--config", folder, "--address", ADA, "--json")
    assert json.loads(listed.output)["signatures"][0]["sent"] is True
    await account(lab, ADA, "--sign", "never")
    plain = message(ADA, DAFYDD)
    assert (await lab.submit(ADA, plain, DAFYDD))[0] == 250
    assert not proof_of(lab, await lab.arrived(DAFYDD, identifier(plain)), "rosewood.test").signers


@SHARED
async def test_what_its_author_signed_goes_out_as_it_is(lab: Lab) -> None:
    """Octet for octet, and nothing is put around it."""
    await account(lab, ADA, "--sign", "always")
    for opaque in (True, False):
        own = protect.sign_message(message(ADA, DAFYDD), (signer_of(lab, ADA),), now(), opaque=opaque, token="own")
        assert (await lab.submit(ADA, own, DAFYDD))[0] == 250
        assert (await lab.arrived(DAFYDD, identifier(own))).endswith(own)
    await account(lab, ADA, "--sign", "never")


@SHARED
async def test_what_cannot_be_signed(lab: Lab) -> None:
    """Refused with the reason where signing is demanded, unsigned only where it was wished "if possible"."""
    sent = message(BRUNO, ADA)
    await account(lab, BRUNO, "--sign", "always")
    code, text = await lab.submit(BRUNO, sent, ADA)
    assert (code, text[:5]) == (550, b"5.7.5")
    assert b"there is no key with a certificate for bruno@rosewood.test" in text
    await account(lab, BRUNO, "--sign", "if-possible")
    assert (await lab.submit(BRUNO, sent, ADA))[0] == 250
    assert not proof_of(lab, await lab.arrived(ADA, identifier(sent)), "rosewood.test").signers


@SHARED
@pytest.mark.parametrize("opaque", [True, False])
async def test_opened_on_the_way_in(lab: Lab, opaque: bool, tmp_path: Path) -> None:
    """What comes encrypted to Chiyo lies in her mailbox readable, its signature kept; the original where she wishes."""
    await account(lab, CHIYO, "--decrypt", "--keep-original")
    sent = message(ADA, CHIYO, subject="Secret beds")
    signed = protect.sign_message(sent, (signer_of(lab, ADA),), now(), opaque=opaque, protect_header=True, token="t")
    sealed = sealed_for(lab, signed, CHIYO)
    assert b"Secret beds" not in sealed
    forged = b"Authentication-Results: mail.harbor.test; smime=pass body.smime-identifier=eve@x.test\r\n" + sealed
    assert (await lab.submit(ADA, forged, CHIYO, DAFYDD))[0] == 250
    copy = await lab.arrived(CHIYO, identifier(sent))
    assert b"Dig on Monday." in copy
    header = read_header(copy)
    assert header.text("subject") == "Secret beds"
    assert header.text("content-type").startswith("multipart/signed")
    proof = proof_of(lab, copy, "rosewood.test")
    assert proof.good, proof
    first, *others = [each.text for each in header.get_all("authentication-results")]
    assert "smime=pass" in first
    assert f"body.smime-identifier={ADA}" in first
    assert "dkim=pass" in others[0]
    assert b"eve@x.test" not in copy
    original = await lab.arrived(CHIYO, identifier(sent), "Encrypted")
    untouched = await lab.arrived(DAFYDD, identifier(sent))
    for each in (original, untouched):
        assert b"Dig on Monday." not in each
        assert isinstance(unwrap(each).layers[0], EncryptedLayer)
    found = await fact(lab, "smime", sent)
    assert (found["account"], found["done"], found["smime"]["result"]) == (CHIYO, "decrypted", "pass")
    # which cipher the author used was learned, for answers
    store = open_key_store(lab.settings["harbor.test"])
    used = store.used(ADA)
    store.close()
    assert used is not None
    assert used.cipher == oids.AES256_GCM
    (tmp_path / "copy").write_bytes(copy)
    (tmp_path / "zone").write_text("")
    told = json.loads((await lab.run("explain", str(tmp_path / "copy"), "--zone", str(tmp_path / "zone"), "--json",
                                     "--config", str(lab.folder("harbor.test")), succeeds=False)).output)  # fmt: skip
    assert [each["kind"] for each in told["ledger"]] == ["assessed", "smime"]
    assert told["ledger"][1]["smime"]["sentence"] == found["smime"]["sentence"]
    await lab.settled()


@SHARED
async def test_what_is_not_opened(lab: Lab) -> None:
    """Cipher text that shows no changes and has no signature inside, damage, and mail for others: as it came."""
    await account(lab, CHIYO, "--decrypt", "--no-keep-original")

    def damaged(octets: bytes) -> bytes:
        return octets[:-12] + (b"AAAA" if octets[-12:-8] != b"AAAA" else b"BBBB") + octets[-8:]  # in the tag

    def cut(octets: bytes) -> bytes:
        return octets[: octets.index(b"\r\n\r\n") + 400] + b"\r\n"

    broken = cut(sealed_for(lab, message(ADA, CHIYO), CHIYO))  # cannot be seen to be encrypted
    for made in (
        sealed_for(lab, message(ADA, CHIYO), CHIYO, cipher=oids.AES256_CBC),
        sealed_for(lab, message(ADA, CHIYO), DAFYDD),
        damaged(sealed_for(lab, message(ADA, CHIYO), CHIYO)),
        broken,
    ):
        assert (await lab.submit(ADA, made, CHIYO))[0] == 250
        assert (await lab.arrived(CHIYO, identifier(made))).endswith(made)
        if made is not broken:
            found = await fact(lab, "smime", made)
            assert found["done"] == "as it came"
            assert found["reason"]
    good = sealed_for(lab, message(ADA, CHIYO), CHIYO)
    assert (await lab.submit(ADA, good, CHIYO))[0] == 250
    assert b"Dig on Monday." in await lab.arrived(CHIYO, identifier(good))


@SHARED
async def test_fields_inside_do_not_come_out(lab: Lab) -> None:
    """Who encrypts to somebody cannot put a From or a verdict of ours over the message that way."""
    await account(lab, CHIYO, "--decrypt", "--no-keep-original")
    sent = message(ADA, CHIYO)
    inside = b"Authentication-Results: mail.harbor.test; dkim=pass\r\nFrom: boss@harbor.test\r\n"
    inside += b"Content-Type: text/plain\r\n\r\nPay.\r\n"
    cms = encrypt(inside, (To(certificate_for(lab, CHIYO, encryption=True)),))
    made = wrap(sent.partition(b"\r\n\r\n")[0] + b"\r\n", cms, "authEnveloped-data")
    assert (await lab.submit(ADA, made, CHIYO))[0] == 250
    copy = read_header(await lab.arrived(CHIYO, identifier(sent)))
    assert [each.text for each in copy.get_all("from")] == [ADA]
    assert len(copy.get_all("authentication-results")) == 1
    assert copy.octets[copy.body_start :].startswith(b"Pay.")


def labelled(lab: Lab, octets: bytes, policy: str, classification: int) -> bytes:
    attributes = labels.attributes(SecurityLabel(policy, classification))
    signer = dataclasses.replace(signer_of(lab, ADA), attributes=attributes)
    return protect.sign_message(octets, (signer,), now(), token="label")


@SHARED
@pytest.mark.parametrize("inside", [False, True])
async def test_a_label_beyond_the_clearance_is_refused(lab: Lab, inside: bool) -> None:
    """In the session, with the reason; of several recipients those who may read get it, and the sender hears of others."""
    await account(lab, DAFYDD, "--decrypt")
    await account(lab, CHIYO, "--decrypt", "--no-keep-original")
    reason = "The security label forbids delivery: dafydd@harbor.test is not cleared for confidential"
    for recipients in ((DAFYDD,), (CHIYO, DAFYDD)):
        sent = message(ADA, CHIYO)
        made = labelled(lab, sent, "1.2.3.4", 3)
        made = sealed_for(lab, made, CHIYO, DAFYDD) if inside else made
        assert (await lab.submit(ADA, made, *recipients))[0] == 250
        report = (await lab.arrived(ADA, identifier(sent))).decode()
        assert "Status: 5.7.1" in report
        said = "".join(report.split("Diagnostic-Code:")[1].split("\r\n\r\n")[0].split())
        assert reason.replace(" ", "") in said
        assert ("smtp;550" in said) is (len(recipients) == 1)
        await lab.settled()
        assert not [each for each in await lab.inbox(DAFYDD) if identifier(sent) in each]
    assert b"Dig on Monday." in await lab.arrived(CHIYO, identifier(sent))
    await account(lab, DAFYDD, "--no-decrypt")


@SHARED
async def test_labels_over_lmtp(lab: Lab) -> None:
    """What a mail server in front hands over is judged by its labels, too."""
    made = labelled(lab, message(ADA, DAFYDD), "1.2.3.4", 3)

    def hand_over() -> tuple[int, bytes]:
        host, _, port = lab.settings["harbor.test"].listen.lmtp[0].rpartition(":")
        with smtplib.LMTP(host, int(port), "localhost") as lmtp:
            lmtp.ehlo()
            lmtp.mail(ADA)
            lmtp.rcpt(DAFYDD)
            return lmtp.data(made)

    code, text = await asyncio.to_thread(hand_over)
    assert (code, text[:5]) == (550, b"5.7.1")
    assert b"dafydd@harbor.test is not cleared" in text


@SHARED
async def test_a_label_of_a_lenient_policy_stays_closed(lab: Lab) -> None:
    """It is delivered, and not opened for whoever may not read it; within the clearance it is."""
    await account(lab, DAFYDD, "--decrypt")
    sent = message(ADA, DAFYDD)
    made = sealed_for(lab, labelled(lab, sent, "1.2.3.5", 1), DAFYDD)
    assert (await lab.submit(ADA, made, DAFYDD))[0] == 250
    assert (await lab.arrived(DAFYDD, identifier(sent))).endswith(made)
    allowed = sealed_for(lab, labelled(lab, message(ADA, DAFYDD), "1.2.3.4", 1), DAFYDD)
    assert (await lab.submit(ADA, allowed, DAFYDD))[0] == 250
    assert b"Dig on Monday." in await lab.arrived(DAFYDD, identifier(allowed))
    await account(lab, DAFYDD, "--no-decrypt")


@SHARED
async def test_what_was_revoked_signs_no_more(lab: Lab) -> None:
    """The domain's own list is believed within seconds, and the account's mail waits for a new certificate."""
    await account(lab, BRUNO, "--enrol")
    value = await account(lab, BRUNO, "--sign", "always")
    sent = message(BRUNO, ADA)
    assert (await lab.submit(BRUNO, sent, ADA))[0] == 250
    assert proof_of(lab, await lab.arrived(ADA, identifier(sent)), "rosewood.test").good
    folder = lab.folder("rosewood.test")
    options = ("--folder", str(folder / "ca"), "--password-file", str(folder / "ca.password"))
    await lab.run("ca", "revoke", value["signs_with"], *options)
    for _ in range(1000):
        code, text = await lab.submit(BRUNO, message(BRUNO, ADA), ADA)
        if code != 250:
            break
        await asyncio.sleep(0.05)
    assert (code, text[:5]) == (550, b"5.7.5")
    assert b"it was revoked" in text
    await account(lab, BRUNO, "--enrol")
    assert (await lab.submit(BRUNO, message(BRUNO, ADA), ADA))[0] == 250
    await account(lab, BRUNO, "--sign", "never")


@SHARED
async def test_a_mailbox_gets_one_copy_of_what_is_opened(lab: Lab) -> None:
    """Named twice, once with a detail, Chiyo gets the message once, as without the gateway."""
    await account(lab, CHIYO, "--decrypt", "--no-keep-original")
    sealed = sealed_for(lab, message(ADA, CHIYO), CHIYO)
    assert (await lab.submit(ADA, sealed, CHIYO, "chiyo+garden@harbor.test"))[0] == 250
    assert b"Dig on Monday." in await lab.arrived(CHIYO, identifier(sealed))
    await lab.settled()
    await lab.arrived(CHIYO, identifier(sealed))


@SHARED
async def test_nobody_is_forsaken(lab: Lab) -> None:
    """A server that would send unsigned what is to be signed does not start; without the right password neither."""
    settings = lab.settings["rosewood.test"]
    for smime, reason in (
        ({}, "all mail of ada@rosewood.test.* is to be signed"),
        ({"password_file": "ca/ca.txt"}, "password"),
    ):
        with contextlib.closing(GatewayAccounts(settings.path(settings.data) / KEY_STORE_NAME)) as accounts:
            accounts.put(GatewayAccount(ADA, Signing.ALWAYS))
        changed = admd_settings.parse(
            settings.model_dump(exclude={"smime", "folder"}) | {"smime": smime}, settings.folder / "x"
        )
        base = Foundation(changed, *[cast(Any, None)] * 6)
        async with contextlib.AsyncExitStack() as stack:
            with pytest.raises(SettingsFault, match=reason):
                open_gateway(base, stack)


@SHARED
async def test_an_account_that_is_removed_takes_its_wishes_along(lab: Lab) -> None:
    """Whoever gets the name later is not signed for."""
    folder = str(lab.folder("harbor.test"))
    await lab.run("account", "add", "guest@harbor.test", "--config", folder)
    await account(lab, "guest@harbor.test", "--decrypt")
    await lab.run("account", "remove", "guest@harbor.test", "--config", folder)
    await lab.run("account", "add", "guest@harbor.test", "--config", folder)
    assert (await account(lab, "guest@harbor.test"))["decrypt"] is False


@SHARED
async def test_labels_on_mail_that_leaves(lab: Lab) -> None:
    """Refused in the session with the recipient named; a policy file that changes counts once it is read again."""
    file = lab.folder("harbor.test") / "labels.toml"
    forbidden = "The security label forbids sending: ada@rosewood.test has no clearance under the policy"

    async def sent(policy: str, classification: int = 1) -> tuple[int, str]:
        written = labelled(lab, message(CHIYO, ADA), policy, classification)
        code, text = await lab.submit(CHIYO, written, ADA, DAFYDD)
        return code, text.decode()

    # harbor lets nobody elsewhere read; what "lax" would deliver here unopened would be read there
    for policy, reason in (("1.2.3.4", f"{forbidden} harbor"), ("1.2.3.5", f"{forbidden} lax"),
                           ("1.2.3.9", "is of a policy not known here")):  # fmt: skip
        code, text = await sent(policy)
        assert code == 550
        assert reason in text
    plain = message(CHIYO, ADA)
    assert (await lab.submit(CHIYO, plain, ADA))[0] == 250
    try:
        for change, expected in (
            ('"ada@rosewood.test" = 2\n', {1: 250, 2: 250, 3: 550}),
            ('"ada@rosewood.test" = "much"\n', {2: 250, 3: 550}),  # a mistake: what was in force stays
            ("", {1: 550}),
        ):
            text = LABELS.replace('"@harbor.test" = 1\n', '"@harbor.test" = 3\n' + change)
            file.write_text(text)
            lab.admds["harbor.test"].reload()
            for classification, code in expected.items():
                assert (await sent("1.2.3.4", classification))[0] == code, (change, classification)
    finally:
        file.write_text(LABELS)
        lab.admds["harbor.test"].reload()
    told = [line for line in lab.log if '"label policies not reloaded"' in line]
    assert len(told) == 1
    assert "ada@rosewood.test: give a classification from 0 to 256" in told[0]
    assert (await sent("1.2.3.4"))[0] == 550


@SHARED
async def test_an_alias_does_not_lead_out_what_a_label_keeps_in(lab: Lab) -> None:
    """Mail for an address here that leads on to somebody elsewhere is looked at as mail to them."""
    with opened_accounts(lab.settings["harbor.test"]) as accounts:
        accounts.set_alias("garden@harbor.test", [BRUNO])
    secret = labelled(lab, message(ADA, "garden@harbor.test"), "1.2.3.4", 1)
    assert (await lab.submit(ADA, secret, "garden@harbor.test"))[0] == 250
    report = (await lab.arrived(ADA, identifier(secret))).decode()
    assert "bruno@rosewood.test has no clearance" in " ".join(report.split())
    open_one = message(ADA, "garden@harbor.test")
    assert (await lab.submit(ADA, open_one, "garden@harbor.test"))[0] == 250
    assert await lab.arrived(BRUNO, identifier(open_one))
