"""`letterlock mail` and OpenSSL write to each other: the cipher somebody used last, receipts both ways, labels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.interop.test_smime_path import anchor, certificate_file, key_files, run

from gateway.people import ADA, CHIYO, certificate_for, enrolled
from gateway.test_user_agent import know, options, shown, uid_of
from gateway.two_domains import Lab, two_domains
from letterlock.formats.imf.header import read_header

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Two domains whose people have keys; both trust both authorities, and know Ada and Chiyo."""
    smime: dict[str, Any] = {
        "smime": {"password_file": "smime.password"},
        "registrar": {"password_file": "ca.password"},
    }
    prepare = enrolled({"rosewood.test": (ADA,), "harbor.test": (CHIYO,)}, told=False)
    folder = tmp_path_factory.mktemp("user-agent-openssl")
    async with two_domains(folder, {"rosewood.test": smime, "harbor.test": smime}, prepare) as lab:
        await know(lab, ADA, CHIYO)
        yield lab


def written(author: str, recipient: str, name: str, entity: bytes) -> tuple[bytes, bytes]:
    """A letter with what OpenSSL made as its body, and its Message-ID."""
    message_id = f"{name}@{author.rpartition('@')[2]}".encode()
    fields = f"From: {author}\nTo: {recipient}\nSubject: {name}\nDate: Mon, 23 Nov 2026 12:00:00 +0000\n"
    whole = fields.encode() + b"Message-ID: <" + message_id + b">\n" + entity.replace(b"\r\n", b"\n")
    return whole.replace(b"\n", b"\r\n"), message_id


async def test_what_openssl_used_last_is_what_it_gets(lab: Lab, tmp_path: Path) -> None:
    """It signs without capabilities and encrypts with AES-192: the answer comes in AES-192, by the second rule."""
    key, certificate = key_files(lab, CHIYO, tmp_path, encryption=False)
    text = b"Content-Type: text/plain\r\n\r\nDig on Monday.\r\n"
    signed = await run(
        "openssl", "cms", "-sign", "-nosmimecap", "-signer", certificate, "-inkey", key, "-crlfeol", octets=text
    )
    to = certificate_file(lab, ADA, tmp_path)
    sealed = await run("openssl", "cms", "-encrypt", "-aes192", "-recip", to, octets=signed)
    letter, message_id = written(CHIYO, ADA, "used", sealed)
    assert (await lab.submit(CHIYO, letter, ADA))[0] == 250
    value, _text = await shown(lab, ADA, message_id)
    assert value["smime"]["good"] is True, value["smime"]
    sent = await lab.run("mail", "send", "--encrypt", "--subject", "Re", "--text", "Yes.", "--no-copy", "--json",
                         *options(lab, ADA), CHIYO)  # fmt: skip
    (told,) = json.loads(sent.stdout)["encryption"]
    assert (told["cipher"], told["rule"], told["rule_name"]) == ("AES-192-CBC", 2, "known-use")
    answer = await lab.arrived(CHIYO, json.loads(sent.stdout)["message_id"].encode())
    key, certificate = key_files(lab, CHIYO, tmp_path, encryption=True)
    opened = await run("openssl", "cms", "-decrypt", "-inkey", key, "-recip", certificate, octets=answer)
    assert b"Yes." in opened
    printed = await run("openssl", "cms", "-cmsout", "-print", "-noout", octets=answer)
    assert b"aes-192-cbc" in printed


async def test_openssl_gives_the_receipt_that_was_asked_for(lab: Lab, tmp_path: Path) -> None:
    """`mail send --request-receipt`, `openssl cms -sign_receipt`, and `mail show` says what it proves."""
    sent = await lab.run("mail", "send", "--sign", "--request-receipt", "--subject", "The gate", "--text", "Open it.",
                         "--json", *options(lab, ADA), CHIYO)  # fmt: skip
    message_id = json.loads(sent.stdout)["message_id"].encode()
    (tmp_path / "letter").write_bytes(await lab.arrived(CHIYO, message_id))
    key, certificate = key_files(lab, CHIYO, tmp_path, encryption=False)
    given = await run(
        "openssl", "cms", "-sign_receipt", "-in", tmp_path / "letter", "-signer", certificate, "-inkey", key
    )
    receipt, receipt_id = written(CHIYO, ADA, "receipt", given)
    assert (await lab.submit(CHIYO, receipt, ADA))[0] == 250
    value, text = await shown(lab, ADA, receipt_id)
    assert value["receipt"]["proved"] is True, (
        sent.stdout,
        value["receipt"],
        (await lab.run("mail", "list", "--mailboxes", "--profile", str(lab.profile(ADA)))).output,
        sent.stderr,
    )
    assert value["receipt"]["message_id"].encode() == message_id
    assert text.startswith(f'{CHIYO} received "The gate" of ')


async def test_openssl_verifies_the_receipt_it_asked_for(lab: Lab, tmp_path: Path) -> None:
    """`openssl cms -receipt_request_all`, `mail receipt`, `openssl cms -verify_receipt`."""
    key, certificate = key_files(lab, ADA, tmp_path, encryption=False)
    text = b"Content-Type: text/plain\r\n\r\nOpen the gate.\r\n"
    asked = await run("openssl", "cms", "-sign", "-signer", certificate, "-inkey", key, "-crlfeol",
                      "-receipt_request_all", "-receipt_request_to", ADA, octets=text)  # fmt: skip
    letter, message_id = written(ADA, CHIYO, "asked", asked)
    assert (await lab.submit(ADA, letter, CHIYO))[0] == 250
    value, _text = await shown(lab, CHIYO, message_id)
    assert value["receipt_asked"]["send"] is True, value
    given = await lab.run("mail", "receipt", await uid_of(lab, CHIYO, message_id), "--no-encrypt", "--no-copy", "--json",
                          *options(lab, CHIYO))  # fmt: skip
    receipt = await lab.arrived(ADA, json.loads(given.stdout)["message_id"].encode())
    assert read_header(receipt).text("to") == ADA
    (tmp_path / "letter").write_bytes(letter)
    (tmp_path / "receipt").write_bytes(receipt)
    said = await run("openssl", "cms", "-verify_receipt", tmp_path / "receipt", "-in", tmp_path / "letter",
                     "-CAfile", anchor(lab, "harbor.test"))  # fmt: skip
    assert b"Verification successful" in said


async def test_openssl_verifies_what_carries_a_label(lab: Lab) -> None:
    """It knows nothing of labels, and shows that there is one among the attributes it verified."""
    sent = await lab.run("mail", "send", "--sign", "--label", "1.2.3.4:secret", "--text", "Dig.", "--no-copy", "--json",
                         *options(lab, ADA), CHIYO)  # fmt: skip
    letter = await lab.arrived(CHIYO, json.loads(sent.stdout)["message_id"].encode())
    said = await run("openssl", "cms", "-verify", "-CAfile", anchor(lab), "-crlfeol", octets=letter)
    assert b"Verification successful" in said
    printed = await run("openssl", "cms", "-cmsout", "-print", "-noout", octets=letter)
    assert b"id-smime-aa-securityLabel" in printed
    assert certificate_for(lab, ADA, encryption=False).serial
