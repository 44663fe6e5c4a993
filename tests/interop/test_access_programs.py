"""IMAP and POP3 with programs we did not write: Python's own clients, curl, mbsync, offlineimap, neomutt."""

from __future__ import annotations

import imaplib
import json
import mailbox
import os
import poplib
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.interop.terminal import run_in_terminal

from letterlock.host.tls import KeyPair

pytestmark = pytest.mark.interop

ACCOUNT, PASSWORD = "anna@rosewood.test", "correct-horse"
PLAIN = (
    b"From: Bertram <bertram@harbor.test>\r\nTo: anna@rosewood.test\r\nSubject: Plain letter\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <plain@harbor.test>\r\n\r\nHello.\r\n.dot\r\n..\r\n"
)
MIME = (
    b"From: =?utf-8?q?J=C3=B6rg?= <joerg@harbor.test>\r\nTo: anna@rosewood.test\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nDate: Mon, 23 Nov 2026 11:00:00 +0100\r\nMessage-ID: <mime@harbor.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"Sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe\r\n"
    b"--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\r\n" * 2000
    + b"--b--\r\n"
)


@dataclass(frozen=True)
class Server:
    """The server's ports, the certificate to trust, and a folder for the test."""

    imap: int
    imaps: int
    pop3: int
    pop3s: int
    ca: Path
    folder: Path

    def imaplib(self) -> imaplib.IMAP4_SSL:
        """Return a client that is logged in."""
        client = imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=ssl.create_default_context(cafile=self.ca))
        client.login(ACCOUNT, PASSWORD)
        return client

    def fill(self, *messages: bytes, folder: str = "INBOX") -> None:
        """Append messages."""
        client = self.imaplib()
        for message in messages:
            assert client.append(folder, "", "", message)[0] == "OK"
        client.logout()

    def contents(self, folder: str = "INBOX") -> dict[bytes, tuple[bytes, bytes]]:
        """Return (flags, octets) of each message by its Message-ID."""
        client = self.imaplib()
        client.select(folder, readonly=True)
        found = {}
        for data in client.fetch("1:*", "(FLAGS BODY.PEEK[])")[1] or []:
            if isinstance(data, tuple):
                identity = data[1].lower().split(b"message-id:")[1].split(b"\r\n")[0].strip()
                found[identity] = (data[0], data[1])
        client.logout()
        return found


@pytest.fixture
def server(tmp_path: Path, key_pair: KeyPair) -> Iterator[Server]:
    """A server with an empty INBOX."""
    command = [sys.executable, str(Path(__file__).with_name("serve_access.py")), str(tmp_path / "server")]
    with subprocess.Popen(
        [*command, str(key_pair.chain), str(key_pair.key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Server(**json.loads(process.stdout.readline()), ca=key_pair.chain, folder=tmp_path)
        process.communicate("")
    assert process.returncode == 0


def run(*command: str | Path, within: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=within,
        check=False,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_imaplib_does_all_it_can(server: Server) -> None:
    client = imaplib.IMAP4("localhost", server.imap)
    with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
        client.login(ACCOUNT, PASSWORD)
    client.starttls(ssl_context=ssl.create_default_context(cafile=server.ca))
    client.authenticate("PLAIN", lambda _challenge: f"\0{ACCOUNT}\0{PASSWORD}".encode())
    client.enable("CONDSTORE")
    assert client.create("Work/2026")[0] == "OK"
    assert client.append("Work/2026", "(\\Flagged)", imaplib.Time2Internaldate(0), PLAIN)[0] == "OK"
    assert client.append("Work/2026", "", "", MIME)[0] == "OK"
    assert client.select("Work/2026")[1] == [b"2"]
    assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == PLAIN
    assert client.fetch("2", "(RFC822)")[1][0][1] == MIME
    assert client.search(None, "FLAGGED")[1] == [b"1"]
    assert client.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT", '"letter"')[1] == [b"1"]
    assert client.store("2", "+FLAGS", "\\Deleted")[0] == "OK"
    assert client.copy("1", "INBOX")[0] == "OK"
    assert client.expunge()[1] == [b"2"]
    assert client.status("INBOX", "(MESSAGES UNSEEN)")[1] == [b"INBOX (MESSAGES 1 UNSEEN 1)"]
    assert client.namespace()[0] == "OK"
    assert client.close()[0] == "OK"
    assert client.rename("Work", "Play")[0] == "OK"
    assert client.delete("Play/2026")[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_poplib_reads_and_deletes(server: Server) -> None:
    server.fill(PLAIN, MIME)
    client = poplib.POP3("localhost", server.pop3)
    assert "STLS" in client.capa()
    client.stls(ssl.create_default_context(cafile=server.ca))
    client.user(ACCOUNT)
    client.pass_(PASSWORD)
    assert client.stat() == (2, len(PLAIN) + len(MIME))
    assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == PLAIN
    assert b"\r\n".join(client.retr(2)[1]) + b"\r\n" == MIME
    assert client.top(1, 1)[1][-1] == b"Hello."
    assert len(client.uidl()[1]) == 2
    client.dele(1)
    client.quit()
    client = poplib.POP3_SSL("localhost", server.pop3s, context=ssl.create_default_context(cafile=server.ca))
    client.user(ACCOUNT)
    client.pass_(PASSWORD)
    assert client.stat()[0] == 1
    client.quit()


def test_curl_over_imap_and_pop3(server: Server) -> None:
    letter = server.folder / "letter.eml"
    letter.write_bytes(MIME)
    login = ("curl", "-sS", "--cacert", server.ca, "--user", f"{ACCOUNT}:{PASSWORD}")
    imap, fetched = f"imaps://localhost:{server.imaps}", server.folder / "fetched.eml"
    run(*login, "-T", letter, f"{imap}/INBOX")
    run(*login, f"{imap}/INBOX;MAILINDEX=1", "-o", fetched)
    assert fetched.read_bytes() == MIME
    run(*login, f"{imap}/INBOX;UID=1;SECTION=TEXT", "-o", fetched)
    assert fetched.read_bytes() == MIME.partition(b"\r\n\r\n")[2]
    assert "* SEARCH 1" in run(*login, f"{imap}/INBOX?SUBJECT%20gr").stdout
    assert "EXISTS" in run(*login, f"{imap}/INBOX", "-X", "EXAMINE INBOX").stdout
    # STARTTLS, SCRAM where curl has it, and POP3 both ways
    plain = ("--ssl-reqd", f"imap://localhost:{server.imap}/INBOX;MAILINDEX=1", "-o", str(fetched))
    run(*login, *plain)
    assert fetched.read_bytes() == MIME
    run(*login, f"pop3s://localhost:{server.pop3s}/1", "-o", fetched)
    assert fetched.read_bytes() == MIME
    run(*login, "--ssl-reqd", f"pop3://localhost:{server.pop3}/1", "-o", fetched)
    assert fetched.read_bytes() == MIME
    assert run(*login, f"pop3s://localhost:{server.pop3s}/").stdout == f"1 {len(MIME)}\n"


def test_mbsync_both_ways(server: Server) -> None:
    """New mail, flags, deletions and new folders cross in both directions."""
    server.fill(PLAIN, MIME)
    local = server.folder / "mail"
    local.mkdir()
    configuration = server.folder / "mbsyncrc"
    configuration.write_text(f"""
IMAPAccount rosewood
Host localhost
Port {server.imaps}
User {ACCOUNT}
Pass {PASSWORD}
SSLType IMAPS
CertificateFile {server.ca}

IMAPStore remote
Account rosewood

MaildirStore local
SubFolders Verbatim
Path {local}/
Inbox {local}/INBOX

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    run("mbsync", "-c", configuration, "-a")
    inbox = mailbox.Maildir(local / "INBOX", create=False)
    received = {message["Message-ID"]: key for key, message in inbox.items()}
    assert set(received) == {"<plain@harbor.test>", "<mime@harbor.test>"}
    assert sorted(inbox.list_folders()) == []
    assert (local / "Sent" / "cur").is_dir()

    # from here to there: a new message, a flag, a deletion, a folder
    message = inbox[received["<mime@harbor.test>"]]
    message.add_flag("F")
    inbox[received["<mime@harbor.test>"]] = message
    inbox.remove(received["<plain@harbor.test>"])
    inbox.add(b"Message-ID: <new@local>\nSubject: from here\n\nNew.\n")
    inbox.flush()
    mailbox.Maildir(local / "Made", create=True)
    run("mbsync", "-c", configuration, "-a")
    there = server.contents()
    assert set(there) == {b"<mime@harbor.test>", b"<new@local>"}
    assert b"\\Flagged" in there[b"<mime@harbor.test>"][0]
    assert there[b"<mime@harbor.test>"][1] == MIME
    client = server.imaplib()
    assert client.select("Made")[0] == "OK"

    # from there to here: a flag, a deletion, a message in a new folder
    client.append("Made", "(\\Seen)", "", PLAIN)
    client.select("INBOX")
    number = client.search(None, "HEADER", "Message-ID", "<new@local>")[1][0]
    client.store(number, "+FLAGS", "\\Deleted")
    client.expunge()
    client.logout()
    run("mbsync", "-c", configuration, "-a")
    inbox = mailbox.Maildir(local / "INBOX", create=False)
    assert [message["Message-ID"] for message in inbox] == ["<mime@harbor.test>"]
    (made,) = mailbox.Maildir(local / "Made", create=False)
    assert "S" in made.get_flags()


def test_offlineimap_both_ways(server: Server) -> None:
    server.fill(PLAIN, MIME)
    local, configuration = server.folder / "mail", server.folder / "offlineimaprc"
    configuration.write_text(f"""
[general]
accounts = Rosewood
metadata = {server.folder}/metadata
ui = basic
[Account Rosewood]
localrepository = Local
remoterepository = Remote
[Repository Local]
type = Maildir
localfolders = {local}
[Repository Remote]
type = IMAP
remotehost = localhost
remoteport = {server.imaps}
remoteuser = {ACCOUNT}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {server.ca}
""")
    sync = ("offlineimap", "-o", "-c", configuration)
    run(*sync)
    inbox = mailbox.Maildir(local / "INBOX", create=False)
    received = {message["Message-ID"]: key for key, message in inbox.items()}
    assert set(received) == {"<plain@harbor.test>", "<mime@harbor.test>"}
    message = inbox[received["<mime@harbor.test>"]]
    message.add_flag("F")
    inbox[received["<mime@harbor.test>"]] = message
    inbox.remove(received["<plain@harbor.test>"])
    inbox.add(b"Message-ID: <new@local>\nSubject: from here\n\nNew.\n")
    inbox.flush()
    run(*sync)
    there = server.contents()
    assert set(there) == {b"<mime@harbor.test>", b"<new@local>"}
    assert b"\\Flagged" in there[b"<mime@harbor.test>"][0]
    server.fill(PLAIN)
    run(*sync)
    inbox = mailbox.Maildir(local / "INBOX", create=False)
    assert {message["Message-ID"] for message in inbox} == {"<mime@harbor.test>", "<new@local>", "<plain@harbor.test>"}


def test_neomutt_reads_in_batch(server: Server) -> None:
    """It opens the mailbox, saves one message to a file, deletes the other, and leaves."""
    server.fill(PLAIN, MIME)
    saved, configuration = server.folder / "saved", server.folder / "neomuttrc"
    configuration.write_text(f"""
set folder = "imaps://localhost:{server.imaps}/"
set spoolfile = "+INBOX"
set imap_user = "{ACCOUNT}"
set imap_pass = "{PASSWORD}"
set certificate_file = "{server.ca}"
set ssl_force_tls = yes
set mbox_type = mbox
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set header_cache = ""
unset move
push "<search>~s letter<enter><copy-message>{saved}<enter><delete-message><sync-mailbox><quit>"
""")
    assert run_in_terminal("neomutt", "-n", "-F", configuration, HOME=str(server.folder)) == 0
    assert b"Subject: Plain letter" in saved.read_bytes()
    assert set(server.contents()) == {b"<mime@harbor.test>"}


def test_fetchmail_empties_the_mailbox_over_both_protocols(server: Server) -> None:
    """Each message goes to a delivery program octet for octet, then is deleted on the server."""
    for protocol, service in (("IMAP", server.imap), ("POP3", server.pop3)):
        server.fill(PLAIN, MIME)
        spool, configuration = server.folder / f"{protocol}.spool", server.folder / "fetchmailrc"
        configuration.write_text(
            f'poll localhost protocol {protocol} port {service} user "{ACCOUNT}" password "{PASSWORD}"\n'
            f'  sslproto "TLS1.2+" sslcertck sslcertfile "{server.ca}" mda "cat >> {spool}" no rewrite fetchall\n'
        )
        configuration.chmod(0o600)
        run(
            "fetchmail", "-f", configuration, "--invisible", "--pidfile", server.folder / "pid", HOME=str(server.folder)
        )
        assert spool.read_bytes().replace(b"\r\n", b"\n") == (PLAIN + MIME).replace(b"\r\n", b"\n")
        assert server.contents() == {}


def test_mpop_keeps_what_it_has_seen(server: Server) -> None:
    """UIDL values stay, so that a second run fetches only what is new."""
    server.fill(PLAIN)
    maildir, configuration = server.folder / "mpop", server.folder / "mpoprc"
    mailbox.Maildir(maildir, create=True)
    configuration.write_text(f"""
account rosewood
host localhost
port {server.pop3}
tls on
tls_starttls on
tls_trust_file {server.ca}
user {ACCOUNT}
password {PASSWORD}
auth scram-sha-256
keep on
received_header off
delivery maildir {maildir}
uidls_file {server.folder}/uidls
""")
    configuration.chmod(0o600)
    run("mpop", "-q", "-C", configuration, "rosewood")
    server.fill(MIME)
    run("mpop", "-q", "-C", configuration, "rosewood")
    received = sorted(path.read_bytes() for path in (maildir / "new").iterdir())
    assert received == sorted(octets.replace(b"\r\n", b"\n") for octets in (PLAIN, MIME))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may write to: Dovecot reads no mail as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_dovecot_copies_a_whole_account(server: Server, open_folder: Path) -> None:
    """Dovecot as a client (imapc) copies every mailbox and finds nothing left to copy afterwards."""
    server.fill(PLAIN, MIME)
    server.fill(PLAIN, folder="Sent")
    client = server.imaplib()
    client.create("Work/2026/&AOk-")
    client.append("Work/2026/&AOk-", "(\\Flagged $Forwarded)", "", MIME)
    client.logout()
    folder, configuration = open_folder, open_folder / "dovecot.conf"
    (folder / "ca.pem").write_bytes(server.ca.read_bytes())
    user, group = ("nobody", "nogroup") if os.geteuid() == 0 else (str(os.geteuid()), str(os.getegid()))
    configuration.write_text(f"""
base_dir = {folder}/run
state_dir = {folder}
log_path = {folder}/log
protocols =
ssl_client_ca_file = {folder}/ca.pem
mail_location = maildir:{folder}/mail:LAYOUT=fs
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
imapc_host = 127.0.0.1
imapc_port = {server.imaps}
imapc_ssl = imaps
imapc_user = {ACCOUNT}
imapc_password = {PASSWORD}
imapc_features = rfc822.size fetch-headers
namespace inbox {{
  inbox = yes
  separator = /
}}
""")
    dovecot = ("doveadm", "-c", configuration, "backup", "-R", "imapc:")
    home = {"USER": "anna", "HOME": str(folder / "home")}
    run(*dovecot, **home)
    copied = {path.parent.parent.name: path.read_bytes() for path in (folder / "mail").rglob("cur/*") if path.is_file()}
    copied |= {path.parent.parent.name: path.read_bytes() for path in (folder / "mail").rglob("new/*")}
    assert len(list((folder / "mail").rglob("cur/*")) + list((folder / "mail").rglob("new/*"))) == 4
    assert copied["\u00e9" if "\u00e9" in copied else "&AOk-"].replace(b"\r\n", b"\n") == MIME.replace(b"\r\n", b"\n")
    run(*dovecot, **home)


def test_imapfilter_searches_flags_and_moves(server: Server) -> None:
    server.fill(PLAIN, MIME)
    script = server.folder / "filter.lua"
    script.write_text(f"""
options.timeout = 20
options.certificates = true
options.create = true
account = IMAP {{
  server = "localhost", port = {server.imaps}, ssl = "tls1.2",
  username = "{ACCOUNT}", password = "{PASSWORD}",
}}
local plain = account.INBOX:contain_subject("letter")
assert(#plain == 1)
assert(#account.INBOX:match_body("octet.stream") == 1)
assert(#(account.INBOX:is_unseen() * account.INBOX:is_smaller(1000)) == 1)
plain:mark_flagged()
plain:move_messages(account["Work/2026"])
account.INBOX:contain_from("joerg"):copy_messages(account.Sent)
local exist, unread = account.INBOX:check_status()
assert(exist == 1, exist)
""")
    run(
        "imapfilter", "-c", script, "-t", server.ca, HOME=str(server.folder), IMAPFILTER_HOME=str(server.folder),
        SSL_CERT_FILE=str(server.ca),
    )  # fmt: skip
    moved = server.contents("Work/2026")
    assert b"\\Flagged" in moved[b"<plain@harbor.test>"][0]
    assert moved[b"<plain@harbor.test>"][1] == PLAIN
    assert set(server.contents("Sent")) == {b"<mime@harbor.test>"}
    assert set(server.contents()) == {b"<mime@harbor.test>"}


def test_fdm_fetches_over_both_protocols(server: Server) -> None:
    """Messages go to a program octet for octet, and those matched are deleted."""
    server.fill(PLAIN, MIME)
    for protocol, port in (("imaps", server.imaps), ("pop3s", server.pop3s)):
        spool, configuration = server.folder / f"{protocol}.mail", server.folder / "fdm.conf"
        configuration.write_text(f"""
set lock-file "{server.folder}/lock"
account "rosewood" {protocol} server "localhost" port {port} user "{ACCOUNT}" pass "{PASSWORD}" no-verify
match all action pipe "cat >> {spool}" {"continue" if protocol == "imaps" else ""}
match all action {"keep" if protocol == "imaps" else "drop"}
""")
        configuration.chmod(0o600)
        run("fdm", "-f", configuration, *(["-k"] if protocol == "imaps" else []), "fetch", HOME=str(server.folder))
        for message in (PLAIN, MIME):
            body = message.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
            assert body in spool.read_bytes()
    assert server.contents() == {}


def test_s_nail_reads_and_deletes(server: Server) -> None:
    server.fill(PLAIN, MIME)
    script = "headers\nfrom harbor\nprint 1\ndelete 1\nquit\n"
    done = subprocess.run(
        ["s-nail", "-n", "-N", "-#", "-Sv15-compat", "-S", f"tls-ca-file={server.ca}", "-S", "tls-verify=strict",
         "-S", "imap-auth=login", "-f", f"imaps://anna%40rosewood.test:{PASSWORD}@localhost:{server.imaps}/INBOX"],
        input=script, capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"HOME": str(server.folder)},
    )  # fmt: skip
    assert "Plain letter" in done.stdout, done.stdout + done.stderr
    assert "Hello." in done.stdout
    assert set(server.contents()) == {b"<mime@harbor.test>"}
