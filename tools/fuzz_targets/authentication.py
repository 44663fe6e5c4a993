"""Records and fields of SPF, DKIM, DMARC and ARC, and messages that bear them: every octet ends in a verdict."""

from letterlock.errors import Malformed
from letterlock.formats import authentication_results, tag_list
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Mx, Ptr, Rdata, Txt
from letterlock.formats.imf.header import read_header
from letterlock.trust import spf
from letterlock.trust.ask import decide
from letterlock.trust.authenticate import Authentication, Client
from letterlock.trust.authenticate import authentication_results as results_of
from letterlock.trust.dmarc import lint as dmarc_lint
from letterlock.trust.spf import lint as spf_lint

SEEDS = (
    b"v=spf1 a:%{d} mx/24//64 include:x.test exists:%{ir}.%{l1r-}.test redirect=y.test exp=%{c}.test",
    b"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b.test!10m,https://c.test; fo=1:d:s; psd=u; t=y; pct=5",
    b"v=DKIM1; k=rsa; h=sha256; s=email; t=y:s; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKn",
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=x.test; s=s; h=from:to; l=5; t=1; x=2; bh=QQ==;\r\n b=QUI=\r\n"
    b"From: a@x.test\r\n\r\nBody\r\n",
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x.test; s=s; b=QQ==\r\nARC-Message-Signature: i=1; a=rsa-sha256; d=x.test;"
    b" s=s; h=from; bh=QQ==; b=QQ==\r\nARC-Authentication-Results: i=1; x.test; dmarc=pass\r\nFrom: a@x.test\r\n\r\n",
    b'mx.test (c (d)) 1; spf=pass reason="x" smtp.mailfrom=a@b.test (e); dkim=fail header.d=c.test',
)
_CLIENT = Client("192.0.2.1", "helo.test", "a@x.test")


def fuzz(octets: bytes) -> None:
    """Take the octets as every record, as a field and as a message."""

    def answer(question: Question) -> Answer:
        records: tuple[Rdata, ...]
        match question.type:
            case "TXT":
                records = (Txt((octets,)),)
            case "MX":
                records = (Mx(1, "m.test"),)
            case "PTR":
                records = (Ptr("h.test"),)
            case _:
                records = (A("192.0.2.1"),)
        return Answer(question, Outcome.FOUND, records)

    spf.check_blocking(answer, "192.0.2.1", "helo.test", "a@x.test")
    decide(spf_lint.lint("x.test"), answer)
    decide(dmarc_lint.lint("a.x.test"), answer)
    header = read_header(octets)
    checks = Authentication(header, _CLIENT)
    body = octets[header.body_start :]
    for at in range(0, len(body), 5):
        checks.feed(body[at : at + 5])
    findings = decide(checks.judge(1_800_000_000), answer)
    written = authentication_results.write(results_of(findings, "mx.test", _CLIENT))
    assert authentication_results.parse(written.partition(b":")[2]).authserv_id == "mx.test"
    for reader in (authentication_results.parse, tag_list.parse):
        try:
            reader(octets)
        except Malformed:
            continue
