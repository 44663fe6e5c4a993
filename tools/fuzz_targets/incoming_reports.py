"""Reports of strangers: aggregate, TLS and failure reports, and the containers they come in."""

import gzip

from letterlock.errors import Malformed
from letterlock.formats.reports import dmarc_aggregate, failure, tlsrpt
from letterlock.formats.reports.containers import unpack

_XML = (
    b"<feedback><report_metadata><org_name>a</org_name><report_id>1</report_id><date_range><begin>1</begin><end>2</end>"
    b"</date_range></report_metadata><policy_published><domain>x.test</domain><p>none</p></policy_published><record><row>"
    b"<source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim>"
    b"<spf>fail</spf></policy_evaluated></row><identifiers><header_from>x.test</header_from></identifiers><auth_results>"
    b"<spf><domain>x.test</domain><result>fail</result></spf></auth_results></record></feedback>"
)
SEEDS = (
    _XML,
    gzip.compress(_XML, mtime=0),
    b'{"organization-name":"a","date-range":{"start-datetime":"2026-01-01T00:00:00Z"},"policies":[{"policy":{},"summary":{}}]}',
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b\r\n"
    b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\nIncidents: 2\r\n--b--\r\n",
)


def fuzz(octets: bytes) -> None:
    """Read as each of them; an aggregate report that was read can be written and is read back alike."""
    list(unpack(octets))
    for reader in (tlsrpt.parse, failure.parse):
        try:
            reader(octets)
        except Malformed:
            continue
    try:
        report = dmarc_aggregate.parse(octets)
    except Malformed:
        return
    if report.records:
        again = dmarc_aggregate.parse(dmarc_aggregate.write(report))
        assert [record.messages for record in again.records] == [record.messages for record in report.records]
