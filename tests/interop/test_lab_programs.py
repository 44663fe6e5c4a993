"""Mail crosses the lab in the hands of programs that are not ours."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest
from tests.interop.conftest import Lab
from tests.interop.terminal import run_in_terminal

pytestmark = pytest.mark.interop


def _run(*command: str, given: bytes = b"", timeout: float = 60) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, timeout=timeout, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize(("service", "option"), [("submission", "-tls"), ("submissions", "-tlsc")])
def test_swaks_submits(lab: Lab, tmp_path: Path, service: str, option: str) -> None:
    """STARTTLS and TLS from the start, AUTH, an attachment, across the border."""
    rosewood, harbor = lab.sites
    ada, chiyo = rosewood.people[0], harbor.people[0]
    subject = f"swaks {uuid.uuid4()}"
    attachment = tmp_path / "figures.bin"
    attachment.write_bytes(bytes(range(256)))
    _run(
        "swaks", "--server", rosewood.host, "--port", str(rosewood.ports[service]), option, "--tls-verify",
        "--tls-ca-path", str(lab.authority), "--auth-user", ada.address, "--auth-password", ada.password,
        "--from", ada.address, "--to", chiyo.address, "--header", f"Subject: {subject}", "--attach", f"@{attachment}",
    )  # fmt: skip
    arrived = lab.arrived(harbor, chiyo, subject)
    assert b"filename=figures.bin" in arrived.replace(b'"', b"")
    assert b"ESMTPS" in arrived  # it crossed the border encrypted


def test_swaks_cannot_send_as_somebody_else(lab: Lab) -> None:
    """An author may use only their own addresses."""
    rosewood, harbor = lab.sites
    ada, bruno = rosewood.people
    done = subprocess.run(
        ["swaks", "--server", rosewood.host, "--port", str(rosewood.ports["submissions"]), "-tlsc", "--auth-user",
         ada.address, "--auth-password", ada.password, "--from", bruno.address, "--to", harbor.people[0].address],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"5.7.1" in done.stdout


def test_swaks_cannot_relay(lab: Lab) -> None:
    """Port 25 takes mail for its own domain only."""
    rosewood, harbor = lab.sites
    done = subprocess.run(
        ["swaks", "--server", rosewood.host, "--port", str(rosewood.ports["smtp"]), "-tls", "--from",
         "stranger@quarry.test", "--to", harbor.people[0].address],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"5.7.1" in done.stdout


def test_curl_sends_and_reads(lab: Lab, tmp_path: Path) -> None:
    """smtps, imaps and pop3s in one program; what POP3 gives is what IMAP gives."""
    rosewood, harbor = lab.sites
    dafydd, bruno = harbor.people[1], rosewood.people[1]
    subject = f"curl {uuid.uuid4()}"
    letter = tmp_path / "letter.eml"
    letter.write_bytes(
        f"From: {dafydd.address}\r\nTo: {bruno.address}\r\nSubject: {subject}\r\n\r\n.leading dot\r\nlast\r\n".encode()
    )
    common = ("curl", "--silent", "--show-error", "--cacert", str(lab.authority))
    _run(
        *common, f"smtps://{harbor.host}:{harbor.ports['submissions']}/localhost", "--user",
        f"{dafydd.address}:{dafydd.password}", "--mail-from", dafydd.address, "--mail-rcpt", bruno.address,
        "--upload-file", str(letter),
    )  # fmt: skip
    octets = lab.arrived(rosewood, bruno, subject)
    assert octets.endswith(b"\r\n\r\n.leading dot\r\nlast\r\n")
    account = ("--user", f"{bruno.address}:{bruno.password}")
    pop3 = f"pop3s://{rosewood.host}:{rosewood.ports['pop3s']}"
    count = len(_run(*common, f"{pop3}/", *account).splitlines())
    # The lab's own letters may arrive meanwhile, so ours need not be the last.
    assert octets in [_run(*common, f"{pop3}/{number}", *account) for number in range(count, 0, -1)]
    folders = _run(*common, "--ssl-reqd", f"imap://{rosewood.host}:{rosewood.ports['imap']}/", *account)
    assert b"INBOX" in folders


def test_msmtp_submits(lab: Lab, tmp_path: Path) -> None:
    """msmtp with SCRAM-SHA-256 over STARTTLS."""
    rosewood, harbor = lab.sites
    ada, chiyo = rosewood.people[0], harbor.people[0]
    subject = f"msmtp {uuid.uuid4()}"
    settings = tmp_path / "msmtprc"
    settings.write_text(
        f"defaults\ntls on\ntls_trust_file {lab.authority}\n"
        f"account lab\nhost {rosewood.host}\nport {rosewood.ports['submission']}\nauth scram-sha-256\n"
        f"user {ada.address}\npassword {ada.password}\nfrom {ada.address}\naccount default: lab\n"
    )
    settings.chmod(0o600)
    letter = f"From: {ada.address}\nTo: {chiyo.address}\nSubject: {subject}\n\nGrüße\n".encode()
    _run("msmtp", "-C", str(settings), chiyo.address, given=letter)
    assert "Grüße" in lab.arrived(harbor, chiyo, subject).decode()


def test_mutt_reads(lab: Lab, tmp_path: Path) -> None:
    """neomutt opens the mailbox over IMAP with TLS and saves a message to a file."""
    rosewood, harbor = lab.sites
    ada, chiyo = rosewood.people[0], harbor.people[0]
    subject = f"mutt-{uuid.uuid4().hex}"
    _run(
        "swaks", "--server", rosewood.host, "--port", str(rosewood.ports["submissions"]), "-tlsc", "--auth-user",
        ada.address, "--auth-password", ada.password, "--from", ada.address, "--to", chiyo.address, "--header",
        f"Subject: {subject}", "--body", "read by mutt",
    )  # fmt: skip
    lab.arrived(harbor, chiyo, subject)
    saved = tmp_path / "saved.mbox"
    settings = tmp_path / "muttrc"
    settings.write_text(
        f"set folder='imaps://{harbor.host}:{harbor.ports['imaps']}'\nset spoolfile='+INBOX'\n"
        f"set imap_user='{chiyo.address}'\nset imap_pass='{chiyo.password}'\nset certificate_file='{lab.authority}'\n"
        "set ssl_verify_host=no\nset ssl_usesystemcerts=no\nset header_cache=''\nset confirmcreate=no\nset delete=no\n"
        f"push '<limit>~s {subject}<enter><copy-message>{saved}<enter><exit>'\n"
    )
    run_in_terminal("neomutt", "-n", "-F", settings, HOME=str(tmp_path))
    assert b"read by mutt" in saved.read_bytes()
