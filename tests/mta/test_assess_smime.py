"""S/MIME signatures at the border: told in Authentication-Results and kept in the ledger, never taken from others."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from letterlock.admd.settings import Settings
from letterlock.admd.smime_files import smime_anchors
from letterlock.errors import SettingsFault
from letterlock.formats import authentication_results
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.host.ledger import Ledger
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import protect
from letterlock.trust.smime.sign import Signer

NOW = datetime.datetime(2027, 1, 15, 8, 0, tzinfo=datetime.UTC)
PLAIN = b"From: ada@rosewood.test\r\nTo: bob@garden.test\r\nSubject: Hedge\r\n\r\nCut it.\r\n"
ZONE = 'rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"\n_dmarc.rosewood.test. IN TXT "v=DMARC1; p=none"\n'


def _world() -> tuple[issue.Authority, bytes]:
    authority = issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), NOW, 100, 1)
    key = key_pairs.generate("p256")
    certificate = issue.certify(
        authority, key.public, Name.make(CN="Ada"), ("ada@rosewood.test",), issue.usages_of(key.public),
        when=NOW, days=30, serial=2,
    )  # fmt: skip
    return authority, protect.sign_message(PLAIN, (Signer(key, certificate),), NOW, token="t")


async def _results(folder: Path, octets: bytes, anchors: tuple[Anchor, ...]) -> tuple[list[tuple[str, str]], object]:
    ledger = Ledger.open(folder / "ledger")
    settings = AssessSettings("mx.garden.test", smime_anchors=anchors)
    assessor = Assessor(settings, ZoneTable.parse(ZONE), ledger)
    envelope = Envelope(Address("ada", "rosewood.test"), (Recipient(Address("bob", "garden.test")),))
    source = Endpoint("192.0.2.1", 1)
    arrival = Arrival("id", NOW.timestamp(), source, "mx.rosewood.test", "ESMTP", None, "", envelope, (octets,))
    assessment = await assessor(arrival)
    field = read_header(assessment.fields + b"\r\n").get("authentication-results")
    assert field is not None
    parsed = authentication_results.parse(field.value)
    ledger.close()
    (entry,) = ledger.read()
    found = [one for one in parsed.results if one.method == "smime"]
    named = [{p.name: p.value for p in one.properties}.get("smime-identifier", "") for one in found]
    return [(one.result, name) for one, name in zip(found, named, strict=True)], entry.facts["smime"]


async def test_what_signatures_prove_is_told(tmp_path: Path) -> None:
    """Pass for the good, fail for the changed, nothing for the unsigned or where no anchors are set."""
    authority, signed = _world()
    anchors = (Anchor.of(authority.certificate),)
    changed = signed.replace(b"Cut it.", b"Burn it.")
    for name, octets, trusted, expected in (
        ("a", signed, anchors, [("pass", "ada@rosewood.test")]), ("b", changed, anchors, [("fail", "ada@rosewood.test")]),
        ("c", PLAIN, anchors, []), ("d", signed, (), []),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        results, kept = await _results(tmp_path / name, octets, trusted)
        assert results == expected
        assert isinstance(kept, dict)
        assert kept["result"] == (expected[0][0] if expected else "none")


def test_anchors_come_from_the_settings(tmp_path: Path) -> None:
    """A PEM file beside letterlock.toml; one that is none is named."""
    authority, _signed = _world()
    (tmp_path / "people.pem").write_bytes(pem.encode("CERTIFICATE", authority.certificate.octets))
    base = {"domain": "garden.test", "folder": tmp_path}
    assert smime_anchors(Settings(**base)) == ()
    chosen = Settings(**base, assess={"smime_anchors": "people.pem"})
    assert smime_anchors(chosen) == (Anchor.of(authority.certificate),)
    (tmp_path / "people.pem").write_bytes(b"no certificate")
    with pytest.raises(SettingsFault, match="smime_anchors"):
        smime_anchors(chosen)
