"""Aggregate reports in every dialect, and those that are none."""

import gzip
import io
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.reports import containers, failure, tlsrpt
from letterlock.formats.reports.dmarc_aggregate import (
    AggregateReport,
    DkimResult,
    PolicyPublished,
    Reason,
    Record,
    SpfResult,
    filename,
    merge,
    parse,
    write,
)

RECORD = Record(
    "192.0.2.1",
    7,
    "quarantine",
    "fail",
    "pass",
    "rosewood.test",
    "bounce.rosewood.test",
    "garden.test",
    (Reason("local_policy", "known <forwarder> & friend"),),
    (DkimResult("rosewood.test", "s1", "fail", "body changed"), DkimResult("other.test", "s2", "pass")),
    (SpfResult("bounce.rosewood.test", "pass", "mfrom"),),
)
REPORT = AggregateReport(
    "Garden",
    "dmarc@garden.test",
    "20261123.rosewood.test",
    1_800_000_000,
    1_800_086_400,
    PolicyPublished("rosewood.test", "reject", "none", "reject", "r", "s", "1", "n", "treewalk"),
    (RECORD, RECORD._replace(source_ip="2001:db8::1", messages=1, reasons=(), dkim_results=(), spf_results=())),
    errors=("pct= is withdrawn",),
    generator="Letterlock",
    namespace="urn:ietf:params:xml:ns:dmarc-2.0",
)

RFC7489 = b"""<?xml version="1.0" encoding="UTF-8" ?>
<feedback><report_metadata><org_name>acme.com</org_name><email>noreply@acme.com</email>
<extra_contact_info>http://acme.com/dmarc/support</extra_contact_info><report_id>9391651994964116463</report_id>
<date_range><begin>1335571200</begin><end>1335657599</end></date_range></report_metadata>
<policy_published><domain>example.com</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>
<record><row><source_ip>72.150.241.94</source_ip><count>2</count>
<policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>pass</spf></policy_evaluated></row>
<identifiers><header_from>example.com</header_from></identifiers>
<auth_results><dkim><domain>example.com</domain><result>fail</result><human_result></human_result></dkim>
<spf><domain>example.com</domain><result>pass</result></spf></auth_results></record></feedback>"""


def test_what_is_written_is_read() -> None:
    """RFC 9990: a round trip keeps everything."""
    assert parse(write(REPORT)) == REPORT


def test_the_elements_stand_in_their_order() -> None:
    """RFC 9990, first level elements and policy_evaluated: the order is part of the schema."""
    text = write(REPORT).decode()
    for names in (
        ("<version>", "<report_metadata>", "<policy_published>", "<record>"),
        (
            "<row>",
            "<policy_evaluated>",
            "<disposition>",
            "<dkim>",
            "<spf>",
            "<reason>",
            "<identifiers>",
            "<auth_results>",
        ),
    ):
        places = [text.index(name) for name in names]
        assert places == sorted(places)


def test_a_report_of_rfc_7489() -> None:
    """The older dialect, with its pct and without a namespace."""
    report = parse(RFC7489)
    assert (report.org_name, report.policy.pct, report.namespace, report.defects) == ("acme.com", "100", "", ())
    (record,) = report.records
    assert (record.messages, record.dkim, record.spf, record.is_pass) == (2, "fail", "pass", True)
    assert record.spf_results == (SpfResult("example.com", "pass"),)


@pytest.mark.parametrize(
    ("old", "new", "defect"),
    [
        (b"</record></feedback>", b"</record>", "XML is broken"),
        (b"<count>2</count>", b"<count>two</count>", "count is no number"),
        (b"<source_ip>72.150.241.94</source_ip>", b"", "without source_ip"),
        (b"<org_name>acme.com</org_name>", b"", "org_name is missing"),
        (b"<dkim>fail</dkim>", b"<dkim>fail</dkim>&unknown;", "XML is broken"),
        (b"http://acme.com/dmarc/support", b"A & B <x>", "XML is broken"),
        (b"<domain>example.com</domain><adkim>", b"<adkim>", "no domain"),
    ],
)
def test_broken_reports_are_kept_and_named(old: bytes, new: bytes, defect: str) -> None:
    """What is wrong is named; the rest is there."""
    report = parse(RFC7489.replace(old, new))
    assert any(defect in one for one in report.defects), report.defects
    assert len(report.records) == 1


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<feedback><report_metadata><org_name>&b;</org_name></report_metadata></feedback>"
)
EXTERNAL = b'<!DOCTYPE feedback [<!ENTITY a SYSTEM "file:///etc/passwd">]><feedback><org_name>&a;</org_name></feedback>'


@pytest.mark.parametrize(
    "octets", [BOMB, EXTERNAL, b"", b"x", b"<html/>", b"<feedback", b"\x00" * 100, b"<a>" * 100_000]
)
def test_what_is_no_report(octets: bytes) -> None:
    """Document types, other roots, garbage and depth are refused."""
    with pytest.raises(Malformed):
        parse(octets)


def test_control_characters_do_not_break_the_xml() -> None:
    """A hostile selector or EHLO name ends up as text."""
    report = parse(write(AggregateReport("O\x00\x1b", "a@b", "1", 1, 2, PolicyPublished("x.test"), (RECORD,))))
    assert "\x00" not in report.org_name


def test_records_that_differ_in_their_count_only_become_one() -> None:
    """One record for each combination (RFC 9990)."""
    merged = merge([RECORD, RECORD._replace(spf="fail"), RECORD])
    assert [one.messages for one in merged] == [14, 7]


def test_the_name_of_the_file() -> None:
    """RFC 9990, Email: receiver!domain!begin!end!id.xml.gz."""
    assert filename(REPORT, "mx.garden.test") == (
        "mx.garden.test!rosewood.test!1800000000!1800086400!20261123rosewoodtest.xml.gz"
    )


def _zipped(*contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.xml", content)
    return buffer.getvalue()


def _mailed(content: bytes, kind: str) -> bytes:
    import base64

    return (
        b'From: a@b.test\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nHello\r\n'
        b"--x\r\nContent-Type: " + kind.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="r"\r\n\r\n' + base64.encodebytes(content) + b"--x--\r\n"
    )


@pytest.mark.parametrize(
    "octets",
    [
        RFC7489,
        gzip.compress(RFC7489),
        gzip.compress(gzip.compress(RFC7489)),
        _zipped(RFC7489),
        _mailed(gzip.compress(RFC7489), "application/gzip"),
        _mailed(_zipped(RFC7489), "application/octet-stream"),
        _mailed(RFC7489, "text/xml"),
        b"From: f@w.test\r\nContent-Type: message/rfc822\r\n\r\n" + _mailed(gzip.compress(RFC7489), "application/gzip"),
    ],
)
def test_every_container(octets: bytes) -> None:
    """Plain, gzip, zip, attached, forwarded: the report inside is the same."""
    (document,) = containers.unpack(octets)
    assert document.octets == RFC7489


def test_bombs_stay_folded() -> None:
    """gzip and zip that unfold too far are refused, and the other members of a mailbox go on."""
    zeros = gzip.compress(b"\0" * 60_000_000)
    (document,) = containers.unpack(zeros)
    assert "unfolds" in document.problem
    (document,) = containers.unpack(_zipped(b"\0" * 60_000_000))
    assert "unfolds" in document.problem
    good, bad = containers.unpack(_zipped(RFC7489, b"\0" * 60_000_000))
    assert (good.octets, "unfolds" in bad.problem) == (RFC7489, True)


@pytest.mark.parametrize(
    "octets", [b"", b"\x1f\x8b", b"\x1f\x8bxxxx", b"PK\x03\x04junk", gzip.compress(RFC7489)[:-20], b"hello"]
)
def test_broken_containers_are_named(octets: bytes) -> None:
    """One document with its problem, no exception."""
    (document,) = containers.unpack(octets)
    assert document.problem


@given(st.binary(max_size=200))
def test_any_octets(octets: bytes) -> None:
    """Random octets, plain and compressed, raise Malformed at most."""
    list(containers.unpack(octets))
    list(containers.unpack(zlib.compress(octets, wbits=31)))
    for reader in (parse, tlsrpt.parse, failure.parse):
        try:
            reader(octets)
        except Malformed:
            continue


TLS_REPORT = tlsrpt.TlsReport(
    "Garden",
    "1@garden.test",
    1_800_000_000,
    1_800_086_400,
    (
        tlsrpt.PolicyReport(
            "sts",
            "rosewood.test",
            100,
            3,
            ("version: STSv1", "mode: enforce"),
            ("mx.rosewood.test",),
            (tlsrpt.Failure("certificate-expired", 3, "192.0.2.1", "mx.rosewood.test"),),
        ),
    ),
    "tls@garden.test",
)


def test_tls_reports() -> None:
    """RFC 8460 section 4.4: written, read, and broken ones kept with their defects."""
    assert tlsrpt.parse(tlsrpt.write(TLS_REPORT)) == TLS_REPORT
    broken = tlsrpt.write(TLS_REPORT).replace(
        b'"total-failure-session-count": 3', b'"total-failure-session-count": "3"'
    )
    report = tlsrpt.parse(broken)
    assert (report.policies[0].failed, report.defects) == (3, ("total-failure-session-count is text",))


@pytest.mark.parametrize(
    ("texts", "uris"),
    [
        ((b"v=TLSRPTv1; rua=mailto:a@b.test,https://c.test/r", b"other"), ("mailto:a@b.test", "https://c.test/r")),
        ((b"v=TLSRPTv1; rua=mailto:a@b.test", b"v=TLSRPTv1; rua=mailto:c@d.test"), ()),
        ((b"v=TLSRPTv2; rua=mailto:a@b.test",), ()),
        ((b"v=TLSRPTv1;x=y;rua=mailto:a@b.test;",), ("mailto:a@b.test",)),
    ],
)
def test_tls_report_records(texts: Any, uris: tuple[str, ...]) -> None:
    """RFC 8460 section 3: exactly one record counts."""
    assert tlsrpt.report_uris(texts) == uris


def test_a_failure_report_is_read() -> None:
    """RFC 9991, the fields of the machine's part and the header of the message."""
    octets = (
        b'From: d@gen.test\r\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nFailed.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        b"Feedback-Type: auth-failure\r\nVersion: 1\r\nUser-Agent: X/1\r\nAuth-Failure: dmarc\r\n"
        b"Identity-Alignment: dkim, spf\r\nSource-IP: 192.0.2.1\r\nReported-Domain: Rosewood.test\r\nIncidents: 4\r\n"
        b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: x@rosewood.test\r\nSubject: y\r\n\r\n--b--\r\n"
    )
    report = failure.parse(octets)
    assert (report.auth_failure, report.source_ip, report.reported_domain, report.incidents) == (
        "dmarc",
        "192.0.2.1",
        "rosewood.test",
        4,
    )
    assert "Subject: y" in report.reported_header
    with pytest.raises(Malformed):
        failure.parse(octets.replace(b"auth-failure", b"abuse"))


def test_redaction_leaves_no_person() -> None:
    """RFC 6590: local parts go, domains stay, fields that name recipients are left out."""
    from letterlock.formats.imf.header import read_header

    header = read_header(
        b"From: Rose <rose@rosewood.test>\r\nTo: ada@garden.test\r\nReceived: for ada\r\nSubject: mail ada@garden.test\r\n\r\n"
    )
    redacted = failure.redacted_header(header)
    assert b"ada" not in redacted
    assert b"rose@" not in redacted
    assert b"Rose" not in redacted
    assert b"redacted@rosewood.test" in redacted
