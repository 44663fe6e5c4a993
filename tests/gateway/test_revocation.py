"""The gateway asks whether certificates of people elsewhere were revoked, and mail does not wait long for it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fakes.certified_site import CertifiedSite, certified_site
from gateway.two_domains import Lab, identifier, message, two_domains
from letterlock.admd.settings import Settings
from letterlock.errors import OurFault
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509 import pem
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.inquiry import Inquiry
from letterlock.host.clock import SystemClock
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.retrieve import Retriever, RetrieveSettings
from letterlock.registrar.gateway_accounts import GatewayAccounts
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.smime import protect
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.unwrap import unwrap

ADA, CHIYO = "ada@rosewood.test", "chiyo@harbor.test"
SHARED = pytest.mark.asyncio(loop_scope="module")


@dataclasses.dataclass
class Scene:
    lab: Lab
    site: CertifiedSite

    async def sent(self, *, whole_chain: bool = True) -> tuple[dict[str, Any], bytes]:
        """Ada sends a signed letter; return what harbor's ledger says of its signature, and the letter as it arrived."""
        world = self.site.world
        written = message(ADA, CHIYO)
        chain = (world.middle.certificate,) if whole_chain else ()
        octets = protect.sign_message(written, (world.signer,), world.now, certificates=chain, token="t")
        assert (await self.lab.submit(ADA, octets, CHIYO))[0] == 250
        arrived = await self.lab.arrived(CHIYO, identifier(written))
        ledger = Ledger.open(self.lab.folder("harbor.test") / "data" / "ledger.sqlite")
        for _ in range(500):
            for entry in ledger.read(kind="assessed"):
                if identifier(written).decode() in str(entry.facts.get("message_id")):
                    ledger.close()
                    found: dict[str, Any] = json.loads(json.dumps(entry.facts["smime"]))
                    return found, arrived
            await asyncio.sleep(0.01)
        raise AssertionError("harbor's ledger knows nothing of it")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Harbor trusts an authority elsewhere, which certified Ada, and may ask it here on loopback."""
    async with certified_site() as site:

        def prepare(_lab: Lab, settings: Settings) -> None:
            anchor = pem.encode("CERTIFICATE", site.world.root.certificate.octets)
            (settings.folder / "anchors.pem").write_bytes(anchor)

        harbor = {
            "assess": {"smime_anchors": "anchors.pem"},
            "smime": {"revocation_private": True, "revocation_seconds": 20.0},
        }
        async with two_domains(tmp_path_factory.mktemp("revocation"), {"harbor.test": harbor}, prepare) as lab:
            yield Scene(lab, site)


@SHARED
async def test_asked_at_the_border_once(scene: Scene) -> None:
    """The ledger says by what revocation is known; the next message of the same signer asks nobody."""
    found, arrived = await scene.sent()
    assert b"smime=pass" in arrived
    assert "was not revoked (says an OCSP answer of" in str(found)
    asked = list(scene.site.asked)
    assert sorted(asked) == ["/ocsp", "/root.crl"]
    await scene.sent()
    assert scene.site.asked == asked


@SHARED
async def test_a_missing_issuer_is_there_for_the_next_message(scene: Scene) -> None:
    """Mail does not wait for what anybody may have named: the first such message proves nothing, the next does."""
    found, arrived = await scene.sent(whole_chain=False)
    assert b"smime=fail" in arrived
    assert "no path leads" in str(found)
    for _ in range(500):
        if "/middle.cer" in scene.site.asked:
            break
        await asyncio.sleep(0.01)
    for _ in range(20):
        found, arrived = await scene.sent(whole_chain=False)
        if b"smime=pass" in arrived:
            break
    assert "was not revoked" in str(found)
    assert scene.site.asked.count("/middle.cer") == 1


@pytest.mark.parametrize("is_required", [False, True])
async def test_an_authority_that_does_not_answer(is_required: bool) -> None:
    """The gateway says what could not be told; the signature proves nothing only where the setting says so."""
    async with certified_site() as site:
        world = site.world
        octets = protect.sign_message(
            message(ADA, CHIYO), (world.signer,), world.now, certificates=(world.middle.certificate,), token="t"
        )
        how = RetrieveSettings(allow_private=True)
        async with Retriever(how, ZoneTable.parse(""), clock=SystemClock(), log=Log("test")) as retriever:
            inquiry = Inquiry(retriever, is_required=is_required)
            site.is_away = True
            unwrapped = unwrap(octets)
            trust = await inquiry.complete(unwrapped, Trust(world.now, (world.anchor,)))
            proof = prove(read_header(octets), unwrapped, trust)
        assert proof.good is not is_required
        assert "127.0.0.1 answered 503 to " in proof.sentence
        assert sorted(set(site.asked)) == ["/middle.crl", "/ocsp", "/root.crl"]
    nobody = await Inquiry(None, is_required=is_required).complete(unwrapped, Trust(world.now, (world.anchor,)))
    assert nobody.require_revocation is is_required


@pytest.mark.parametrize(
    ("revoked", "is_away", "is_required", "reason"),
    [
        (False, False, True, ""),
        (True, False, False, "the certificate for CN=Ada was revoked on"),
        (False, True, False, ""),
        (False, True, True, "it may have been revoked, which could not be told"),
    ],
)
async def test_members_of_lists_are_asked_about(
    revoked: bool, is_away: bool, is_required: bool, reason: str, tmp_path: Path
) -> None:
    """Before anything is encrypted to them: revoked never, not known only where the setting allows it."""
    async with certified_site() as site:
        world = site.world
        store = KeyStore(tmp_path / "keys", b"tulip")
        store.add_certificate(world.root.certificate, "anchor", world.now, anchor=True)
        for number in range(40):  # other members' certificates keep nobody from being asked about
            other = dataclasses.replace(world, address=f"m{number}@rosewood.test").person
            store.add_certificate(other, "told", world.now)
        store.add_certificate(world.person, "told", world.now)
        store.add_certificate(world.middle.certificate, "told", world.now)
        site.revoked, site.is_away = ({3} if revoked else set()), is_away
        how = RetrieveSettings(allow_private=True)
        async with Retriever(how, ZoneTable.parse(""), clock=SystemClock(), log=Log("test")) as retriever:
            keys = DomainKeys(
                store,
                GatewayAccounts(tmp_path / "keys"),
                lambda account: (account,),
                inquiry=Inquiry(retriever, is_required=is_required),
            )
            members = (*(f"m{number}@rosewood.test" for number in range(40)), ADA)
            about = await keys.about(members, world.now)
            for member in members:
                if reason:
                    with pytest.raises(OurFault, match=reason):
                        keys.recipient(member, world.now, about)
                else:
                    assert keys.recipient(member, world.now, about).address == member
        store.close()
