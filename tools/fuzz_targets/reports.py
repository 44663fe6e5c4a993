"""Reports: delivery status, disposition, feedback, read from any octets."""

from letterlock.formats.mime.entity import parse
from letterlock.formats.reports.arf import read_feedback, read_feedback_report, write_feedback_report
from letterlock.formats.reports.dsn import read_delivery_status, read_dsn, write_delivery_status
from letterlock.formats.reports.mdn import read_disposition, read_mdn, read_mdn_request, write_disposition

SEEDS = (
    b"Reporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\nStatus: 5.1.1\r\n",
    b"Final-Recipient: rfc822; a@b\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n",
    b'Feedback-Type: abuse\r\nUser-Agent: x\r\nVersion: 1\r\nSPF-DNS: txt : a.b : "v=spf1 -all"\r\n',
)


def fuzz(octets: bytes) -> None:
    """Read, and what can be written again is written."""
    tree = parse(octets)
    read_dsn(tree)
    read_mdn(tree)
    read_feedback(tree)
    read_mdn_request(tree)
    write_delivery_status(read_delivery_status(octets))
    write_feedback_report(read_feedback_report(octets))
    notification = read_disposition(octets)
    if notification is not None:
        write_disposition(notification)
