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

from gateway.people import ADA, BRUNO, CHIYO, DAFYDD, certificate_for, enrolled, sealed_for, signer_of
from gateway.two_domains import Lab, identifier, message, two_domains
from letterlock.admd.smime_files import open_key_store
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.registrar.folder import certificate_of
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


async def shown(lab: Lab, address: str, which: bytes, *more: str) -> tuple[dict[str, Any], str]:
    """What `mail show` says of a message, for programs and for people."""
    uid = await uid_of(lab, address, which)
    value = await lab.run("mail", "show", uid, "--json", *options(lab, address), *more)
    text = await lab.run("mail", "show", uid, *options(lab, address), *more)
    return json.loads(value.stdout), text.stdout


async def know(lab: Lab, *addresses: str) -> None:
    """Both domains' stores trust both authorities, and know the certificates of some people."""
    now = datetime.datetime.now(datetime.UTC)
    for settings in lab.settings.values():
        store = open_key_store(settings)
        for domain in lab.settings:
            store.add_certificate(certificate_of(lab.folder(domain) / "ca"), "told", now, anchor=True)
        for address in addresses:
            for encryption in (True, False):
                store.add_certificate(certificate_for(lab, address, encryption=encryption), "told", now)
        store.close()


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


@SHARED
@pytest.mark.parametrize("is_sealed", [False, True])
async def test_a_receipt_is_asked_given_and_believed(lab: Lab, is_sealed: bool) -> None:
    """Ada asks, Chiyo is told and answers, Ada reads which of her messages Chiyo verified; the text of neither leaks."""
    await know(lab, ADA, CHIYO)
    how = ("--sign", "--encrypt") if is_sealed else ("--sign",)
    sent = await lab.run("mail", "send", *how, "--request-receipt", "--subject", "The gate", "--text", "Open it.", "--json",
                         *options(lab, ADA), CHIYO)  # fmt: skip
    message_id = json.loads(sent.stdout)["message_id"].encode()
    value, text = await shown(lab, CHIYO, message_id)
    assert value["receipt_asked"] == {"send": True, "reason": "the author asked for a receipt", "to": [ADA]}
    uid = await uid_of(lab, CHIYO, message_id)
    assert text.startswith(f"The author asks for a signed receipt to {ADA}: `mail receipt {uid}` sends it.")
    given = await lab.run("mail", "receipt", uid, "--json", *options(lab, CHIYO))
    answer = json.loads(given.stdout)
    assert answer["recipients"][0]["address"] == ADA
    stored = await lab.arrived(ADA, b"Message-ID: <" + answer["message_id"].encode())
    layers = unwrap(stored).layers
    assert isinstance(layers[-1], EncryptedLayer) is is_sealed
    if is_sealed:
        assert isinstance(layers[0], SignedLayer)
        assert layers[0].checks[0].signer.signed.first(oids.CONTENT_HINTS) is not None
    value, text = await shown(lab, ADA, answer["message_id"].encode())
    assert value["receipt"]["proved"] is True, value
    assert value["receipt"]["message_id"].encode() == message_id
    assert re.match(r'chiyo@harbor.test received "The gate" of .* and verified its signature\.', text)
    assert "receipt_asked" not in value


@SHARED
async def test_receipts_that_prove_nothing_or_are_not_due(lab: Lab) -> None:
    """One for a message Ada never sent, one that lies about whose it is; none for a message that asks for none."""
    await know(lab, ADA, CHIYO)
    plain = await lab.run("mail", "send", "--sign", "--text", "x", "--json", *options(lab, ADA), CHIYO)
    uid = await uid_of(lab, CHIYO, json.loads(plain.stdout)["message_id"].encode())
    refused = await lab.run("mail", "receipt", uid, *options(lab, CHIYO), succeeds=False)
    assert "no receipt was asked for" in refused.output
    sent = await lab.run("mail", "send", "--sign", f"--request-receipt={ADA}", "--no-copy", "--text", "x", "--json",
                         *options(lab, ADA), CHIYO)  # fmt: skip
    message_id = json.loads(sent.stdout)["message_id"].encode()
    given = await lab.run("mail", "receipt", await uid_of(lab, CHIYO, message_id), "--json", *options(lab, CHIYO))
    receipt_id = json.loads(given.stdout)["message_id"].encode()
    value, text = await shown(lab, ADA, receipt_id)
    assert value["receipt"]["proved"] is False
    assert "not among those sent from here" in text
    octets = await lab.arrived(ADA, b"Message-ID: <" + receipt_id)
    forged = octets[octets.index(b"From: ") :].replace(b"From: chiyo@harbor.test", b"From: bruno@rosewood.test")
    forged = forged.replace(receipt_id, b"forged." + receipt_id)
    assert (await lab.submit(BRUNO, forged, ADA))[0] == 250
    value, _text = await shown(lab, ADA, b"forged." + receipt_id)
    assert value["receipt"]["proved"] is False
    for arguments, reason in (
        (("--request-receipt",), "are part of a signature"),
        (("--sign", "--request-receipt=nobody"), "has no domain"),
    ):
        wrong = await lab.run("mail", "send", "--text", "x", *arguments, *options(lab, ADA), CHIYO, succeeds=False)
        assert reason in wrong.output


@SHARED
async def test_a_label_on_what_is_sent(lab: Lab) -> None:
    """By the name of the policy, to who may read it; nothing goes to who may not, or with a label nobody knows."""
    await know(lab, ADA, CHIYO)
    policies = ("--labels", str(lab.folder("harbor.test") / "labels.toml"))
    sent = await lab.run("mail", "send", "--sign", "--label", "harbor:unclassified:For Chiyo", "--text", "x", "--json",
                         *policies, *options(lab, ADA), CHIYO)  # fmt: skip
    octets = await lab.arrived(CHIYO, json.loads(sent.stdout)["message_id"].encode())
    layer = unwrap(octets).layers[0]
    assert isinstance(layer, SignedLayer)
    assert labels.labels_of(layer.checks[0].signer.signed)[0] == SecurityLabel("1.2.3.4", 1, "For Chiyo")
    for label, recipient, reason in (
        ("harbor:secret", CHIYO, "chiyo@harbor.test is not cleared for secret"),
        ("harbor:unmarked", DAFYDD, "dafydd@harbor.test has no clearance under the policy harbor"),
        ("haven:secret", CHIYO, "'haven' is neither an object identifier nor a policy known here (harbor)"),
        ("harbor:hidden", CHIYO, "'hidden' is no classification"),
        ("harbor:257", CHIYO, "at most 256"),
    ):
        refused = await lab.run("mail", "send", "--sign", "--label", label, "--text", "x", *policies, *options(lab, ADA),
                                recipient, succeeds=False)  # fmt: skip
        assert reason in " ".join(refused.output.split())
