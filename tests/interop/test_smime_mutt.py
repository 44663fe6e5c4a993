"""S/MIME with neomutt (which runs openssl) by letters that travel through the lab, both ways."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.interop.conftest import Lab, Person, Site
from tests.interop.smime_world import NOW, World
from tests.interop.terminal import run_in_terminal

from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import unwrap

pytestmark = pytest.mark.interop
BODY = "Grüße, and a line of dots:\n.\n..\nFrom here on nothing.\n"


@dataclass(frozen=True)
class Correspondent:
    """A person of the lab with a key, neomutt's folder for both, and a key store of ours."""

    site: Site
    person: Person
    own: Own
    home: Path
    keys: Path

    @property
    def index(self) -> str:
        """The name under which neomutt keeps key and certificate."""
        return f"{self.person.address.partition('@')[0]}.0"


@dataclass(frozen=True)
class Pair:
    """Two correspondents of different organisations who know each other's certificates."""

    lab: Lab
    world: World
    ada: Correspondent
    chiyo: Correspondent


@pytest.fixture(scope="module")
def pair(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    world = World(tmp_path_factory.mktemp("mutt"))
    made = [_correspondent(world, site, site.people[0]) for site in lab.sites]
    for one, other in (made, reversed(made)):
        _introduce(world, one, other)
    return Pair(lab, world, *made)


def _correspondent(world: World, site: Site, person: Person) -> Correspondent:
    key = key_pairs.generate("rsa2048")
    certificate = issue.certify(
        world.authority, key.public, Name.make(CN=person.address), (person.address,), issue.usages_of(key.public),
        when=NOW, days=30, serial=issue.serial_number(person.address.encode().ljust(16, b".")[:16]),
    )  # fmt: skip
    home = world.folder / person.address
    for folder in ("keys", "certificates"):
        (home / ".smime" / folder).mkdir(parents=True)
    made = Correspondent(site, person, Own(key, certificate), home, home / "keys.db")
    (home / ".smime" / "ca-bundle.crt").write_bytes(world.anchor_file.read_bytes())
    (home / ".smime" / "keys" / made.index).write_bytes(key_pairs.dump(key, None))
    (home / ".smime" / "keys" / ".index").write_text(f"{person.address} {made.index} own ? u\n")
    return made


def _introduce(world: World, one: Correspondent, other: Correspondent) -> None:
    """Give one the other's certificate and its own, in neomutt's folder and in our key store."""
    folder = one.home / ".smime" / "certificates"
    lines = []
    for each in (one, other):
        certificate = pem.encode("CERTIFICATE", each.own.certificate.octets if each.own.certificate else b"")
        (folder / each.index).write_bytes(certificate)
        lines.append(f"{each.person.address} {each.index} {each.index[:-2]} ? t\n")
    (folder / ".index").write_text("".join(lines))
    assert one.own.certificate is not None
    password = world.file(b"x\n")
    kept = ("--store", one.keys, "--password-file", password)
    store = key_pairs.dump_pkcs12(one.own.key, (one.own.certificate, world.authority.certificate), b"x")
    _letterlock("keys", "import", world.file(store), "--file-password", password, *kept)
    _letterlock("keys", "import", folder / other.index, *kept)
    _letterlock("keys", "import", world.anchor_file, "--anchor", *kept)


def _letterlock(*words: object, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "letterlock", *map(str, words)], input=given, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def _settings(who: Correspondent, *lines: str) -> Path:
    """Write neomutt's settings: the system's for S/MIME, the account, and what it is to do."""
    site, person = who.site, who.person
    settings = who.home / "muttrc"
    settings.write_text(
        "source /etc/neomuttrc.d/smime.rc\nset crypt_use_gpgme=no\nset smime_is_default=yes\nset crypt_autosmime=yes\n"
        f"set smime_default_key='{who.index}'\nset smime_sign_as='{who.index}'\nset smime_verify_opaque_command="
        f"'openssl cms -verify -inform DER -in %s %C'\n"
        f"set folder='imaps://{site.host}:{site.ports['imaps']}'\nset spoolfile='+INBOX'\nset imap_user='{person.address}'\n"
        f"set imap_pass='{person.password}'\nset smtp_pass='{person.password}'\n"
        f"set smtp_url='smtps://{person.address}@{site.host}:{site.ports['submissions']}'\nset from='{person.address}'\n"
        "set ssl_verify_host=no\nset header_cache=''\nset record=''\nset delete=no\n"
        "set confirmcreate=no\nset confirmappend=no\nset wait_key=no\nset abort_unmodified=no\nset editor='true'\n"
        "set autoedit=yes\nset edit_headers=yes\nset smtp_authenticators=plain\nset use_envelope_from=yes\n"
        "set hostname='client.test'\nset send_charset='us-ascii:utf-8'\n" + "".join(f"{line}\n" for line in lines)
    )
    return settings


def _mutt(who: Correspondent, *words: str | Path) -> None:
    """Run neomutt; the keys of these tests have the empty passphrase."""
    answers = {b"passphrase:": b"\r"}
    assert run_in_terminal("neomutt", "-n", *words, answers=answers, HOME=str(who.home), LC_ALL="C.UTF-8") == 0


def _mutt_sends(pair: Pair, subject: str, *, sign: bool, encrypt: bool) -> bytes:
    """Have neomutt write from ada to chiyo; return what arrived."""
    settings = _settings(
        pair.ada,
        f"set certificate_file='{pair.lab.authority}'",
        f"set crypt_autosign={'yes' if sign else 'no'}",
        f"set crypt_autoencrypt={'yes' if encrypt else 'no'}",
        """send2-hook ~A "push '<send-message>'\"""",  # once the letter is written, whose editing empties the macro
    )
    body = pair.ada.home / "body"
    body.write_text(BODY)
    to = pair.chiyo.person.address
    _mutt(pair.ada, "-F", settings, "-s", subject, "-i", body, "--", to)
    return pair.lab.arrived(pair.chiyo.site, pair.chiyo.person, subject)


def _prove(pair: Pair, message: bytes, reader: Correspondent) -> tuple[Proof, bytes]:
    unwrapped = unwrap(message, KeyRing((reader.own,)))
    anchor = Anchor.of(pair.world.authority.certificate)
    return prove(read_header(message), unwrapped, Trust(NOW, (anchor,))), unwrapped.content


@pytest.mark.parametrize(("sign", "encrypt"), [(True, False), (False, True), (True, True)])
def test_ours_reads_mutt(pair: Pair, sign: bool, encrypt: bool) -> None:
    """Signed, encrypted, and both: what neomutt sent arrived as it was, opens, and proves who signed."""
    subject = f"mutt-{uuid.uuid4().hex}"
    message = _mutt_sends(pair, subject, sign=sign, encrypt=encrypt)
    proof, content = _prove(pair, message, pair.chiyo)
    assert (proof.good, proof.encrypted) == (sign, encrypt), proof
    assert parse(content).content().decode().replace("\r\n", "\n") == BODY
    if sign:
        assert proof.signers[0].address == pair.ada.person.address


@pytest.mark.parametrize("options", [("--sign",), ("--encrypt",), ("--sign", "--encrypt")])
def test_mutt_reads_ours(pair: Pair, options: tuple[str, ...]) -> None:
    """`mail send` signs and encrypts; neomutt decrypts, verifies and shows."""
    ada, chiyo = pair.ada, pair.chiyo
    account = ("--user", ada.person.address, "--password", ada.person.password, "--ca", pair.lab.authority)
    sent = _letterlock(
        "mail", "send", chiyo.person.address, "--subject", "Ours", *options, *account, "--keys", ada.keys,
        "--keys-password-file", pair.world.file(b"x\n"), "--no-copy", "--json", "--submission",
        f"submissions://{ada.site.host}:{ada.site.ports['submissions']}", given=BODY,
    )  # fmt: skip
    message_id = json.loads(sent)["message_id"].strip("<>")
    pair.lab.arrived(chiyo.site, chiyo.person, message_id, by="HEADER MESSAGE-ID")
    shown = chiyo.home / f"{'-'.join(options)}.txt"
    pager = chiyo.home / "pager"
    pager.write_text(f'#!/bin/sh\nfor file; do :; done\ncp "$file" {shown}\n')
    pager.chmod(0o700)
    settings = _settings(
        chiyo,
        f"set certificate_file='{pair.lab.authority}'",
        f"set pager='{pager}'",
        "set prompt_after=no",
        f"push '<limit>~i {message_id}<enter><display-message><exit>'",
    )
    _mutt(chiyo, "-F", settings)
    text = shown.read_text()
    assert BODY in text
    assert ("erification successful" in text) is ("--sign" in options), text
    assert ("S/MIME encrypted" in text) is ("--encrypt" in options), text
