"""Mail lists of a domain, between two domains over real connections."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.people import (
    ADA,
    BRUNO,
    CHIYO,
    DAFYDD,
    certificate_for,
    enrolled,
    ring_of,
    sealed_for,
    signer_of,
    trust_in,
)
from gateway.two_domains import Lab, identifier, message, two_domains
from letterlock.formats.imf.header import read_header
from letterlock.gateway import lists
from letterlock.trust.smime import protect, receipts
from letterlock.trust.smime.proof import verify_message
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, unwrap

TEAM, BOARD, PARK, LOOP = (f"{name}@rosewood.test" for name in ("team", "board", "park", "loop"))
SHARED = pytest.mark.asyncio(loop_scope="module")
LISTS = [
    {"address": TEAM, "owner": BRUNO, "members": [BRUNO, CHIYO, DAFYDD], "receipts": "owner"},
    {"address": BOARD, "owner": ADA, "members": [CHIYO], "posters": "signed-members", "members_file": "board.txt"},
    {"address": PARK, "owner": ADA, "members": [LOOP], "posters": "anyone"},
    {"address": LOOP, "owner": ADA, "members": [PARK, BRUNO], "posters": "anyone"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Four lists at rosewood; Dafydd has no certificate."""
    smime: dict[str, Any] = {
        "smime": {"password_file": "smime.password"},
        "registrar": {"password_file": "ca.password"},
        "assess": {"smime_anchors": "anchors.pem"},
    }
    more = {"rosewood.test": smime | {"lists": LISTS}, "harbor.test": smime}
    people = {"rosewood.test": (ADA, BRUNO, TEAM, BOARD, PARK, LOOP), "harbor.test": (CHIYO,)}
    (folder := tmp_path_factory.mktemp("lists")).mkdir(exist_ok=True)
    async with two_domains(folder, more, enrolled(people, {"rosewood.test": {"board.txt": f"# more\n{ADA}\n"}})) as lab:
        yield lab


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@SHARED
async def test_a_plain_message_goes_to_all_members_signed_by_the_list(lab: Lab) -> None:
    """Once each, the owner as the reverse path; the list's signature covers the text and carries the history."""
    sent = message(ADA, TEAM)
    assert (await lab.submit(BRUNO, sent.replace(ADA.encode(), BRUNO.encode(), 1), TEAM))[0] == 250
    await lab.settled()
    for member in (BRUNO, CHIYO, DAFYDD):
        copy = await lab.arrived(member, identifier(sent))
        assert copy.startswith(f"Return-Path: <{BRUNO}>\r\n".encode())
        header = read_header(copy)
        assert header.text("list-id") == "<team.rosewood.test>"
        assert header.text("sender") == TEAM
        unwrapped = unwrap(copy)
        (layer,) = unwrapped.layers
        assert isinstance(layer, SignedLayer)
        assert [check.good for check in layer.checks] == [True]
        assert b"Dig on Monday." in layer.content
    assert "dkim=pass" in header.text("authentication-results")
    assert "dmarc=pass" in header.text("authentication-results")


@SHARED
async def test_an_encrypted_message_is_encrypted_anew_to_each_member(lab: Lab) -> None:
    """Signed and encrypted to the list's key by Ada, read by Chiyo with her own; the owner hears who had none."""
    asked = receipts.request(b"one", ADA)
    signer = dataclasses.replace(signer_of(lab, BRUNO), attributes=(asked,))
    sent = message(BRUNO, TEAM, subject="The plan")
    signed = protect.sign_message(sent, (signer,), now(), protect_header=True, token="t")
    assert (await lab.submit(BRUNO, sealed_for(lab, signed, TEAM), TEAM))[0] == 250
    copy = await lab.arrived(CHIYO, identifier(sent))
    await lab.settled()
    unwrapped = unwrap(copy, ring_of(lab, CHIYO))
    assert unwrapped.fault == ""
    outer, encrypted, inner = unwrapped.layers
    assert isinstance(outer, SignedLayer)
    assert isinstance(encrypted, EncryptedLayer)
    assert isinstance(inner, SignedLayer)
    assert outer.checks[0].certificate == certificate_for(lab, TEAM, encryption=False)
    assert b"Dig on Monday." in unwrapped.content
    proof = verify_message(copy, unwrapped, trust_in(lab, "rosewood.test"))
    assert proof.good, proof
    assert proof.signers[0].address == BRUNO
    # receipts go where the list says
    wanted = receipts.wanted(inner.checks[0], (CHIYO,), outer.checks[0].signer)
    assert wanted.addresses == (BRUNO,)
    # Bruno is both a member and the owner: he gets the message, and hears of the one without a certificate
    told = (await lab.arrived(BRUNO, b"without a usable certificate")).decode()
    assert f"{DAFYDD}: the key store holds no certificate for {DAFYDD}" in told.replace("=\r\n", "")
    assert not [each for each in await lab.inbox(DAFYDD) if identifier(sent) in each]


@SHARED
async def test_many_members_get_several_messages(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no reader has too many recipients to look through; each member gets one of them."""
    monkeypatch.setattr(lists, "MOST_TOGETHER", 1)
    sent = message(BRUNO, TEAM)
    assert (await lab.submit(BRUNO, sealed_for(lab, sent, TEAM), TEAM))[0] == 250
    for member in (BRUNO, CHIYO):
        (copy,) = await expanded_for(lab, member, identifier(sent))
        unwrapped = unwrap(copy, ring_of(lab, member))
        assert b"Dig on Monday." in unwrapped.content
        encrypted = next(layer for layer in unwrapped.layers if isinstance(layer, EncryptedLayer))
        assert len(encrypted.enveloped.recipients) == 1
    await lab.settled()


async def expanded_for(lab: Lab, member: str, which: bytes) -> list[bytes]:
    """What a member has of a message, once it is there (the owner gets a report beside it)."""
    for _ in range(2000):
        found = [each for each in await lab.inbox(member) if which in each and b"smime-type=signed-data" in each]
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing for {member}")


@SHARED
async def test_only_members_may_write(lab: Lab) -> None:
    """A stranger's message comes back with 5.7.2; where signatures are asked for, an unsigned one does, too."""
    for author, address in ((ADA, TEAM), (ADA, BOARD)):
        sent = message(author, address)
        assert (await lab.submit(author, sent, address))[0] == 250
        report = (await lab.arrived(author, identifier(sent))).decode()
        assert "Status: 5.7.2" in report
    sent = message(ADA, BOARD)
    signed = protect.sign_message(sent, (signer_of(lab, ADA),), now(), token="t")
    assert (await lab.submit(ADA, signed, BOARD))[0] == 250
    copy = await lab.arrived(CHIYO, identifier(sent))
    proof = verify_message(copy, unwrap(copy), trust_in(lab, "rosewood.test"))
    assert proof.good, proof
    await lab.settled()


@SHARED
async def test_mail_of_a_strict_domain_gets_the_list_as_its_author(lab: Lab) -> None:
    """Harbor asks others to refuse what is not its own: Chiyo's mail comes back to harbor as the list's, and is taken."""
    sent = message(f"Chiyo <{CHIYO}>", TEAM)
    assert (await lab.submit(CHIYO, sent, TEAM))[0] == 250
    copy = read_header(await lab.arrived(DAFYDD, identifier(sent)))
    assert copy.text("from") == f"Chiyo via team <{TEAM}>"
    assert copy.text("reply-to") == f"Chiyo <{CHIYO}>"
    assert "dmarc=pass" in copy.text("authentication-results")
    await lab.settled()


@SHARED
async def test_lists_that_lead_to_each_other_end(lab: Lab) -> None:
    """park leads to loop and loop to park: the history shows it, Bruno gets one copy, and the owner the report."""
    sent = message(ADA, PARK)
    assert (await lab.submit(ADA, sent, PARK))[0] == 250
    await lab.settled()
    copy = await lab.arrived(BRUNO, identifier(sent))
    (layer,) = unwrap(copy).layers
    assert isinstance(layer, SignedLayer)
    report = (await lab.arrived(ADA, identifier(sent))).decode()
    assert "Status: 5.4.6" in report
