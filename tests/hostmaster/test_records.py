"""The records a domain needs, and how what is published stands to them."""

import datetime
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.formats.address import Address
from letterlock.formats.dns.zone import Zone
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.hostmaster.check import Standing, compare
from letterlock.hostmaster.records import DomainFacts, Importance, wanted_records, zone_text
from letterlock.trust.ask import decide
from letterlock.trust.primitives.server_certificates import Validity, server

YEAR = Validity(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(days=365))
CERTIFICATES = tuple(
    x509.load_pem_x509_certificate(server(("mail.rosewood.test",), YEAR, number).certificate).public_bytes(Encoding.DER)
    for number in (1, 2)
)
FACTS = DomainFacts(
    "rosewood.test",
    "mail.rosewood.test",
    ("127.0.1.1", "::1"),
    (("s1", b"v=DKIM1; k=rsa; p=" + b"A" * 392),),
    CERTIFICATES,
    report_address="postmaster@rosewood.test",
    certificate_policy=("lab.test",),
    mta_sts_id="20261123",
    smime=((Address("anna", "rosewood.test"), CERTIFICATES[0]),),
    ports={"imaps": 993, "submissions": 465},
)


def _published(text: str) -> ZoneTable:
    return ZoneTable.parse("$SECURE rosewood.test\n" + text)


def test_the_records_are_a_zone() -> None:
    """The text is zone text that a zone can be made of."""
    text = "@ IN SOA ns hostmaster 1 1 1 1 1\n@ IN NS ns\n" + zone_text(wanted_records(FACTS))
    zone = Zone.parse(text, "rosewood.test")
    assert len(list(zone.records())) == 2 + len(wanted_records(FACTS))


def test_what_is_published_whole_is_right() -> None:
    wanted = wanted_records(FACTS)
    findings = decide(compare(wanted), _published(zone_text(wanted)).answer)
    assert {finding.standing for finding in findings} == {Standing.RIGHT}


def test_what_is_missing_wrong_or_unknown_is_told_apart() -> None:
    """A failed look-up is not a missing record; a different record is not a missing one."""
    wanted = wanted_records(FACTS)
    text = zone_text(wanted).replace("p=reject", "p=none").replace("MX 10 mail", "MX 10 other")
    kept = "\n".join(line for line in text.splitlines() if " SRV " not in line)
    table = _published(kept + "\n$TIMEOUT rosewood.test CAA")
    findings = {(finding.owner, finding.type): finding for finding in decide(compare(wanted), table.answer)}
    standings = {key: finding.standing for key, finding in findings.items() if finding.standing is not Standing.RIGHT}
    assert standings == {
        ("_dmarc.rosewood.test", "TXT"): Standing.WRONG,
        ("rosewood.test", "MX"): Standing.WRONG,
        ("rosewood.test", "CAA"): Standing.UNKNOWN,
        ("_imaps._tcp.rosewood.test", "SRV"): Standing.MISSING,
        ("_submissions._tcp.rosewood.test", "SRV"): Standing.MISSING,
    }
    assert findings["rosewood.test", "MX"].diff() == (
        "-rosewood.test. IN MX 10 other.rosewood.test.",
        "+rosewood.test. IN MX 10 mail.rosewood.test.",
    )


def test_tlsa_in_an_unsigned_zone_is_wrong() -> None:
    """RFC 7672 section 2.2: nobody may rely on it."""
    wanted = [record for record in wanted_records(FACTS) if record.type == "TLSA"]
    table = ZoneTable.parse(zone_text(tuple(wanted)))
    assert [finding.standing for finding in decide(compare(wanted), table.answer)] == [Standing.WRONG] * 3


def test_services_have_tlsa_records_of_their_own() -> None:
    """RFC 7673 section 3.3: one name for each port; the same keys as for SMTP, the next key among them."""
    facts = replace(FACTS, next_keys=(b"a key to come",))
    by_owner: dict[str, set[str]] = {}
    for record in wanted_records(facts):
        if record.type == "TLSA":
            by_owner.setdefault(record.owner, set()).add(record.line().partition(" ")[2])
    assert set(by_owner) == {f"_{port}._tcp.mail.rosewood.test" for port in (25, 465, 993)}
    assert {len(lines) for lines in by_owner.values()} == {3}
    assert len({frozenset(lines) for lines in by_owner.values()}) == 1


def test_required_and_recommended_are_apart() -> None:
    required = {
        (record.owner, record.type) for record in wanted_records(FACTS) if record.importance is Importance.REQUIRED
    }
    assert required == {
        ("rosewood.test", "MX"),
        ("mail.rosewood.test", "A"),
        ("mail.rosewood.test", "AAAA"),
        ("rosewood.test", "TXT"),
        ("s1._domainkey.rosewood.test", "TXT"),
        ("_dmarc.rosewood.test", "TXT"),
    }
