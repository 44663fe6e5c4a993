"""`openssl ca` certifies and revokes, `openssl ocsp` and Python's http.server answer, `smime verify --online` asks them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.cli.root import letterlock

pytestmark = pytest.mark.interop

CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[middle]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
crlDistributionPoints = URI:{web}/root.crl
[person]
keyUsage = critical, digitalSignature, keyAgreement
extendedKeyUsage = emailProtection
subjectAltName = email:ada@rosewood.test
authorityInfoAccess = OCSP;URI:{ocsp}/, caIssuers;URI:{web}/middle.cer
crlDistributionPoints = URI:{web}/middle.crl
[responder]
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
{check}
[req]
distinguished_name = dn
[dn]
"""


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _openssl(*arguments: object) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60).stdout


class World:
    """A root, an authority below it, its responder, Ada, and where their lists lie."""

    def __init__(self, folder: Path, *, checked: bool = False) -> None:
        """`checked`: the responder's own certificate names a list; without it, it says not to ask about it."""
        self.folder = folder
        self.web_port, self.ocsp_port = _free(), _free()
        self.web = folder / "web"
        self.web.mkdir()
        for name in ("root", "middle"):
            home = folder / name
            home.mkdir()
            (home / "index.txt").touch()
            (home / "serial").write_text("1000\n")
            (home / "crlnumber").write_text("01\n")
            text = CONFIG.format(
                folder=home,
                name=name,
                web=f"http://127.0.0.1:{self.web_port}",
                ocsp=f"http://127.0.0.1:{self.ocsp_port}",
                check=f"crlDistributionPoints = URI:http://127.0.0.1:{self.web_port}/middle.crl"
                if checked
                else "1.3.6.1.5.5.7.48.1.5 = ASN1:NULL",
            )
            (home / "ca.cnf").write_text(text)
        root = folder / "root"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30, "-subj",
                 "/CN=Root", "-keyout", root / "root.key", "-out", root / "root.pem")  # fmt: skip
        self.certify("root", "middle", "middle", folder / "middle" / "middle")
        self.certify("middle", "responder", "responder", folder / "responder")
        self.certify("middle", "person", "Ada", folder / "ada")
        _openssl("x509", "-in", folder / "middle" / "middle.pem", "-outform", "DER", "-out", self.web / "middle.cer")
        self.write_lists()
        (folder / "letter").write_bytes(b"Content-Type: text/plain\r\n\r\nDig on Monday.\r\n")
        signed = _openssl("cms", "-sign", "-in", folder / "letter", "-signer", folder / "ada.pem", "-inkey",
                          folder / "ada.key", "-from", "ada@rosewood.test", "-to", "bob@harbor.test")  # fmt: skip
        (folder / "signed.eml").write_bytes(signed)

    def certify(self, authority: str, kind: str, name: str, stem: Path) -> None:
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{stem}.key", "-out", f"{stem}.csr")  # fmt: skip
        _openssl("ca", "-batch", "-config", self.folder / authority / "ca.cnf", "-extensions", kind, "-in", f"{stem}.csr",
                 "-out", f"{stem}.pem", "-notext")  # fmt: skip

    def write_lists(self) -> None:
        for name in ("root", "middle"):
            made = self.folder / f"{name}.crl"
            _openssl("ca", "-gencrl", "-config", self.folder / name / "ca.cnf", "-out", made)
            _openssl("crl", "-in", made, "-outform", "DER", "-out", self.web / f"{name}.crl")

    def revoke(self, name: str = "ada") -> None:
        config = self.folder / "middle" / "ca.cnf"
        _openssl("ca", "-config", config, "-revoke", self.folder / f"{name}.pem", "-crl_reason", "keyCompromise")
        self.write_lists()

    @contextmanager
    def served(self, *, responder: bool) -> Iterator[None]:
        """Run the web server and, perhaps, the responder."""
        home = self.folder / "middle"
        programs = [[sys.executable, "-u", "-m", "http.server", str(self.web_port), "--bind", "127.0.0.1",
                     "--directory", str(self.web)]]  # fmt: skip
        if responder:
            programs.append(["openssl", "ocsp", "-index", str(home / "index.txt"), "-port", str(self.ocsp_port),
                             "-rsigner", str(self.folder / "responder.pem"), "-rkey", str(self.folder / "responder.key"),
                             "-CA", str(home / "middle.pem"), "-nmin", "60"])  # fmt: skip
        running = []
        try:
            for program in programs:
                started = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                running.append(started)
                assert started.stdout is not None
                assert started.stdout.readline()  # it says that it listens
            yield
        finally:
            for each in running:
                each.kill()
                each.communicate()

    def encrypted(self, *options: str) -> tuple[int, str]:
        """What `smime encrypt --online` to Ada ends with, and says."""
        arguments = ("smime", "encrypt", self.folder / "letter", "--to", self.folder / "ada.pem", "--anchor",
                     self.folder / "root" / "root.pem", "--out", self.folder / "sealed.eml")  # fmt: skip
        asking = ("--online", "--private-networks", "--online-seconds", "60")
        result = CliRunner().invoke(letterlock, [*map(str, arguments), *asking, *options])
        return result.exit_code, result.output

    def verified(self, *options: str) -> dict[str, Any]:
        arguments = [
            "smime",
            "verify",
            str(self.folder / "signed.eml"),
            "--anchor",
            str(self.folder / "root" / "root.pem"),
        ]
        asking = ("--online", "--private-networks", "--online-seconds", "60", "--json")
        result = CliRunner().invoke(letterlock, [*arguments, *asking, *options])
        found: dict[str, Any] = json.loads(result.output)
        assert result.exit_code == (0 if found["good"] else 1)
        return found


def test_the_whole_life_of_a_certificate(tmp_path: Path) -> None:
    """Good by the responder, by an answer made now, and by the list; then revoked by each; then nobody answers.

    The message brings Ada's certificate alone: that of the authority between is fetched.
    """
    world = World(tmp_path)
    with world.served(responder=True):
        by_responder, made_now = world.verified(), world.verified("--nonce")
    with world.served(responder=False):
        by_list = world.verified()
    for found, what in (
        (by_responder, "an OCSP answer"),
        (made_now, "an OCSP answer"),
        (by_list, "the revocation list"),
    ):
        assert found["good"], found
        assert f"was not revoked (says {what} of 20" in found["sentence"]
        assert found["signers"][0]["chain"] == ["CN=Ada", "CN=middle", "CN=Root"]
    world.revoke()
    with world.served(responder=True):
        by_responder, made_now = world.verified(), world.verified("--nonce")
    with world.served(responder=False):
        by_list = world.verified()
    for found in (by_responder, made_now, by_list):
        assert not found["good"]
        assert "the certificate for CN=Ada was revoked on 20" in found["sentence"]
        assert "(key compromise)" in found["sentence"]
    certificates = ("--cert", str(world.folder / "middle" / "middle.pem"))
    soft, hard = world.verified(*certificates), world.verified("--require-revocation", *certificates)
    assert (soft["good"], hard["good"]) == (True, False)
    for found in (soft, hard):
        assert "refused the connection" in found["sentence"]
        assert found["signers"][0]["revocation"] == "could not tell"


def test_whether_the_responder_itself_was_revoked(tmp_path: Path) -> None:
    """Its certificate names a list: once that has it, its answers are not believed, and Ada's list is asked."""
    world = World(tmp_path, checked=True)
    with world.served(responder=True):
        before = world.verified()
        world.revoke("responder")
        after = world.verified()
        (world.web / "middle.crl").unlink()
        unknown = world.verified()
    assert "was not revoked (says an OCSP answer of 20" in before["sentence"]
    assert "was not revoked (says the revocation list of 20" in after["sentence"]
    assert unknown["signers"][0]["revocation"] == "could not tell"
    assert "its own certificate may have been revoked" in unknown["sentence"]


def test_who_was_revoked_is_not_encrypted_to(tmp_path: Path) -> None:
    """Asked before anything is encrypted; who does not answer is told of, and refuses only where that is wished."""
    world = World(tmp_path)
    with world.served(responder=True):
        assert world.encrypted("--require-revocation") == (0, "")
    world.revoke()
    with world.served(responder=True):  # which reads its index when it starts
        code, said = world.encrypted()
    assert code == 1
    assert re.search(
        r"ada\.pem is not encrypted to: the certificate for CN=Ada was revoked on .* \(key compromise\)", said
    )
    chain = ("--chain", str(world.folder / "middle" / "middle.pem"))
    code, said = world.encrypted(*chain)
    assert (code, said.startswith(f"note: {world.folder}/ada.pem may have been revoked, which could not be told:")) == (
        0,
        True,
    )
    assert world.encrypted("--require-revocation", *chain)[0] == 1
