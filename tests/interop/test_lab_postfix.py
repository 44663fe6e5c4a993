"""Postfix joins the lab as a third domain, found through the lab's DNS on our side, and mail goes both ways."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench._postfix import postfix
from tests.interop.conftest import Lab

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def maildir(lab: Lab) -> Iterator[Path]:
    """Run Postfix for the guest domain; everything for it lands in one maildir."""
    # Postfix's own user must be able to reach the folder, so it is not among pytest's, which are root's.
    folder = Path(tempfile.mkdtemp(prefix="quarry-", dir="/tmp"))
    guest = lab.guest
    shutil.chown(folder, "postfix", "postfix")
    mail = folder / "mail"
    mail.mkdir()
    shutil.chown(mail, "postfix", "postfix")
    routes = " ".join(f"{{ {site.domain} = smtp:[{site.host}]:{site.ports['smtp']} }}" for site in lab.sites)
    more = "\n".join(
        [
            f"virtual_mailbox_domains = {guest['domain']}",
            f"virtual_mailbox_base = {mail}",
            "virtual_mailbox_maps = static:all/",
            "virtual_uid_maps = static:" + str(folder.stat().st_uid),
            "virtual_gid_maps = static:" + str(folder.stat().st_gid),
            "virtual_minimum_uid = 1",
            f"transport_maps = inline:{{ {routes} }}",
            f"smtp_bind_address = {guest['address']}",
            f"mynetworks = {guest['address']}/32",
            "smtp_tls_security_level = encrypt",
        ]
    )
    try:
        with postfix(folder / "run", more, address=guest["address"], port=guest["port"]):
            yield mail / "all"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postfix_sends_into_the_lab(lab: Lab, maildir: Path) -> None:
    """From quarry.test to harbor.test: STARTTLS, and SPF passes for Postfix's address."""
    harbor = lab.sites[1]
    chiyo = harbor.people[0]
    subject = f"postfix {uuid.uuid4()}"
    letter = f"From: stone@quarry.test\r\nTo: {chiyo.address}\r\nSubject: {subject}\r\n\r\n..\r\nFrom stone\r\n"
    with smtplib.SMTP(
        lab.guest["address"], lab.guest["port"], "mail.quarry.test", source_address=(lab.guest["address"], 0)
    ) as smtp:
        smtp.sendmail("stone@quarry.test", [chiyo.address], letter)
    arrived = lab.arrived(harbor, chiyo, subject)
    assert arrived.endswith(b"\r\n\r\n..\r\nFrom stone\r\n")
    assert b"spf=pass" in arrived
    assert b"with ESMTPS" in arrived


def test_the_lab_sends_to_postfix(lab: Lab, maildir: Path) -> None:
    """From rosewood.test to quarry.test: found by MX, delivered into a maildir, DKIM signature and all."""
    rosewood = lab.sites[0]
    ada = rosewood.people[0]
    subject = f"to postfix {uuid.uuid4()}"
    letter = f"From: {ada.address}\r\nTo: anybody@quarry.test\r\nSubject: {subject}\r\n\r\n.dot\r\nlast\r\n"
    with smtplib.SMTP_SSL(rosewood.host, rosewood.ports["submissions"], context=lab.trusted) as smtp:
        smtp.login(ada.address, ada.password)
        smtp.sendmail(ada.address, ["anybody@quarry.test"], letter)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in (maildir / "new").glob("*"):
            octets = path.read_bytes()
            if subject.encode() in octets:
                assert octets.endswith(b"\n\n.dot\nlast\n")
                assert b"DKIM-Signature: v=1; a=rsa-sha256" in octets
                return
        time.sleep(0.1)
    raise AssertionError("nothing came to the maildir")


def test_a_delivery_is_tried(lab: Lab, maildir: Path) -> None:
    """`letterlock delivery test` as rosewood's server: to a member by DANE, to Postfix, and to nobody, who is refused."""
    for address, code, words in (
        (
            lab.sites[1].people[0].address,
            0,
            ("_2525._tcp.mail.harbor.test: 3 1 1", "accepted under dane", "TLSv1.3", "250 2.1.5"),
        ),
        ("anybody@quarry.test", 0, ("STARTTLS is not offered", "250 2.1.5")),
        ("nobody@harbor.test", 1, ("550 5.1.1",)),
        ("anybody@absent.test", 1, ("5.1.2",)),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "letterlock", "delivery", "test", address, "--config", str(lab.sites[0].settings)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert [word for word in words if word not in done.stdout] == [], done.stdout
