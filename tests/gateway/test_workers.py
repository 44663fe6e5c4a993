"""Verdicts on signatures in the processes that take mail: revocation is asked about there, too."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
from pathlib import Path

from admd.test_serve import Server, unverified
from admd.test_workers import names
from fakes.certified_site import certified_site
from letterlock.formats.x509 import pem
from letterlock.trust.smime import protect

LETTER = b"From: ada@rosewood.test\r\nTo: ada@rosewood.test\r\nSubject: Beds\r\n\r\nDig.\r\n"


async def test_a_worker_asks_about_revocation(tmp_path: Path) -> None:
    """What it is told stands in the verdict; what it could not be told in time does not hold mail back."""
    async with certified_site() as site:
        world = site.world
        octets = protect.sign_message(
            LETTER, (world.signer,), world.now, certificates=(world.middle.certificate,), token="t"
        )

        def taken() -> bytes:
            with names() as port:
                server = Server(
                    tmp_path / "site",
                    workers=1,
                    dns={"mode": "trust-ad", "servers": [f"127.0.0.1:{port}"]},
                    smime={"revocation": "require", "revocation_private": True, "revocation_seconds": 30.0},
                    assess={"smime_anchors": "anchors.pem"},
                )
                anchor = pem.encode("CERTIFICATE", world.root.certificate.octets)
                (server.folder / "anchors.pem").write_bytes(anchor)
                with server.running():
                    return _stored(server, octets)

        stored = (await asyncio.to_thread(taken)).replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
        assert b"smime=pass body.smime-identifier=ada@rosewood.test" in stored
        assert sorted(site.asked) == ["/ocsp", "/root.crl"]


def _stored(server: Server, octets: bytes) -> bytes:
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=60) as smtp:
        smtp.sendmail("x@harbor.test", ["ada@rosewood.test"], octets)
    with imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=unverified(), timeout=30) as imap:
        imap.login("ada@rosewood.test", "a long enough secret")
        for mailbox in ("INBOX", "Junk"):
            imap.select(mailbox)
            found = [each[1] for each in imap.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(each, tuple)]
            if found:
                return bytes(found[0])
    raise AssertionError("nothing arrived")
