"""`letterlock mail` with S/MIME between two domains: certificates out of the DNS, what a message proves, and labels."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.people import ADA, BRUNO, CHIYO, DAFYDD, enrolled, sealed_for, signer_of
from gateway.two_domains import Lab, identifier, message, two_domains
from letterlock.admd.smime import open_key_store
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.trust.smime import labels, protect
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, unwrap

SHARED = pytest.mark.asyncio(loop_scope="module")
LABELS = """
[policy.harbor]
oid = "1.2.3.4"
clearances = { "chiyo@harbor.test" = 1 }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Both authorities publish their people's certificates; neither domain knows the other's."""
    smime: dict[str, Any] = {
        "smime": {"password_file": "smime.password"},
        "registrar": {"password_file": "ca.password"},
        "assess": {"smime_anchors": "anchors.pem"},
    }
    people = {"rosewood.test": (ADA,), "harbor.test": (CHIYO,)}
    prepare = enrolled(people, {"harbor.test": {"labels.toml": LABELS}}, told=False)
    folder = tmp_path_factory.mktemp("user-agent")
    async with two_domains(folder, {"rosewood.test": smime, "harbor.test": smime}, prepare) as lab:
        yield lab


def options(lab: Lab, address: str) -> tuple[str, ...]:
    """A person's profile and key store; the domain's store serves for that."""
    folder = lab.folder(address.rpartition("@")[2])
    keys = ("--keys", str(folder / "data" / "smime.sqlite"), "--keys-password-file", str(folder / "smime.password"))
    return ("--profile", str(lab.profile(address)), *keys)


async def uid_of(lab: Lab, address: str, which: bytes) -> str:
    """The UID of a message, by the command that lists them."""
    await lab.arrived(address, which)
    listed = await lab.run("mail", "list", "--profile", str(lab.profile(address)), "--json", "--newest", "0")
    (found,) = [
        each["uid"]
        for each in json.loads(listed.output)
        if each["message_id"].strip("<>") == which.decode().strip("<>")
    ]
    return str(found)


@SHARED
async def test_encrypted_by_what_the_dns_says_and_shown_with_what_it_proves(lab: Lab) -> None:
    """Ada's store knows nothing of Chiyo: her domain does. Chiyo reads it, and her store learns of Ada from it."""
    sent = await lab.run("mail", "send", "--sign", "--encrypt", "--subject", "The plan", "--text", "Tonight.", "--no-copy",
                         "--verbose", "--json", *options(lab, ADA), CHIYO)  # fmt: skip
    assert re.search(r"chiyo@harbor.test: its domain publishes [0-9a-f]+ \(SMIMEA, DNSSEC secure\)", sent.stderr)
    message_id = json.loads(sent.stdout)["message_id"]
    stored = await lab.arrived(CHIYO, message_id.encode())
    assert b"The plan" not in stored
    assert isinstance(unwrap(stored).layers[0], EncryptedLayer)
    uid = await uid_of(lab, CHIYO, message_id.encode())
    anchor = ("keys", "import", str(lab.folder("rosewood.test") / "ca" / "ca.pem"), "--anchor")
    folder = lab.folder("harbor.test")
    await lab.run(
        *anchor, "--store", str(folder / "data" / "smime.sqlite"), "--password-file", str(folder / "smime.password")
    )
    shown = json.loads((await lab.run("mail", "show", uid, "--json", *options(lab, CHIYO))).output)
    assert shown["subject"] == "The plan"
    assert shown["texts"][0]["text"].strip() == "Tonight."
    assert shown["smime"]["good"] is True
    assert shown["smime"]["sentence"].startswith(
        "The holder of ada@rosewood.test's certificate signed all of this message"
    )
    store = open_key_store(lab.settings["harbor.test"])
    assert store.certificates(ADA)
    store.close()


@SHARED
async def test_nobody_is_encrypted_to_by_guess(lab: Lab) -> None:
    """Without a record, and without a resolver, the command says what is missing, and nothing goes out."""
    for recipient, arguments, reason in (
        (DAFYDD, options(lab, ADA), "harbor.test publishes no certificate for dafydd@harbor.test"),
        (BRUNO, options(lab, ADA), "rosewood.test publishes no certificate for bruno@rosewood.test"),
    ):
        refused = await lab.run("mail", "send", "--encrypt", "--text", "x", *arguments, recipient, succeeds=False)
        assert reason in " ".join(refused.output.split())
    assert await lab.inbox(DAFYDD) == []


@SHARED
@pytest.mark.parametrize("classification", [1, 3])
@pytest.mark.parametrize("is_sealed", [False, True])
async def test_labels_at_display(lab: Lab, classification: int, is_sealed: bool, tmp_path: Path) -> None:
    """Within her clearance Chiyo sees the message; beyond it the reason, neither the text nor its octets."""
    attributes = labels.attributes(SecurityLabel("1.2.3.4", classification))
    signer = dataclasses.replace(signer_of(lab, ADA), attributes=attributes)
    sent = message(ADA, CHIYO)
    made = protect.sign_message(sent, (signer,), datetime.datetime.now(datetime.UTC), token="t")
    made = sealed_for(lab, made, CHIYO) if is_sealed else made
    assert (await lab.submit(ADA, made, CHIYO))[0] == 250
    uid = await uid_of(lab, CHIYO, identifier(sent))
    assert isinstance(
        unwrap(await lab.arrived(CHIYO, identifier(sent))).layers[0], EncryptedLayer if is_sealed else SignedLayer
    )
    labelled = ("--labels", str(lab.folder("harbor.test") / "labels.toml"))
    shown = json.loads((await lab.run("mail", "show", uid, "--json", *options(lab, CHIYO), *labelled)).output)
    raw = await lab.run("mail", "show", uid, "--raw", *options(lab, CHIYO), *labelled, succeeds=classification == 1)
    if classification == 1:
        assert "Dig on Monday." in shown["texts"][0]["text"]
        assert shown["withheld"] is False
    else:
        assert shown["withheld"] is True
        expected = "forbids showing this message: chiyo@harbor.test is not cleared for confidential"
        assert expected in " ".join(shown["texts"][0]["text"].split())
        assert "Dig on Monday." not in json.dumps(shown) + raw.output
