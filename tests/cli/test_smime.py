"""The S/MIME commands, from an authority to a verdict."""

from __future__ import annotations

import base64
import datetime
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.root import letterlock
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import signed
from letterlock.formats.cms.capabilities import Capability
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime.canonical import has_canonical_lines
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime.capabilities import OURS, Remembered, UsedCipher
from letterlock.trust.smime.unwrap import SignedLayer, unwrap, unwrap_cms
from letterlock.trust.smime.verify import verify

MESSAGE = b"From: Ada <ada@rosewood.test>\nTo: bob@rosewood.test\nSubject: Plans\n\nTonight.\n"


def _run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(letterlock, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and Ada's and Bob's keys and certificates, made by the commands themselves."""
    home = tmp_path_factory.mktemp("smime")
    (home / "pw").write_text("tulip\n")
    (home / "message.eml").write_bytes(MESSAGE)
    authority = ("--folder", home / "ca", "--password-file", home / "pw")
    _run("ca", "init", "rosewood.test", "--kind", "p256", *authority)
    for number, name in enumerate(("ada", "bob"), 1):
        key = home / f"{name}.key"
        _run("keys", "generate", "p256", "--out", key, "--password-file", home / "pw")
        _run("smime", "csr", "--key", key, "--address", f"{name}@rosewood.test", "--subject", f"CN={name}",
             "--password-file", home / "pw", "--out", home / f"{name}.p10")  # fmt: skip
        _run("ca", "request", home / f"{name}.p10", *authority)
        _run("ca", "approve", number, *authority)
        _run("ca", "issue", number, *authority, "--out", home / f"{name}.pem")
    return home


def _who(folder: Path, name: str) -> tuple[object, ...]:
    return ("--key", folder / f"{name}.key", "--cert", folder / f"{name}.pem", "--password-file", folder / "pw")


def _anchor(folder: Path) -> tuple[object, ...]:
    return ("--anchor", folder / "ca" / "ca.pem")


def test_sign_and_verify(folder: Path) -> None:
    """Exit 0 for the good, 1 with reasons for the rest."""
    signed = folder / "signed.eml"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", signed)
    verdict = json.loads(_run("smime", "verify", signed, *_anchor(folder), "--json").output)
    assert (verdict["good"], verdict["signers"][0]["role"]) == (True, "from")
    forged = folder / "forged.eml"
    forged.write_bytes(signed.read_bytes().replace(b"Ada <ada@", b"Bob <bob@"))
    verdict = json.loads(_run("smime", "verify", forged, *_anchor(folder), "--json", code=1).output)
    assert "is for ada@rosewood.test" in verdict["reasons"][0]
    _run("smime", "verify", signed, code=1)
    _run("smime", "verify", folder / "message.eml", *_anchor(folder), code=1)


def test_another_author_is_not_talked_away(folder: Path, tmp_path: Path) -> None:
    """--from asks for more than the From field, never for less: Ada's signature under Eve's name stays bad."""
    signed = tmp_path / "signed"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", signed)
    _run("smime", "verify", signed, *_anchor(folder), "--from", "ada@rosewood.test")
    _run("smime", "verify", signed, *_anchor(folder), "--from", "bob@rosewood.test", code=1)
    signed.write_bytes(signed.read_bytes().replace(b"ada@rosewood.test", b"eve@rosewood.test", 1))
    _run("smime", "verify", signed, *_anchor(folder), "--from", "ada@rosewood.test", code=1)


def test_a_key_that_stands_open_needs_no_password(folder: Path, tmp_path: Path) -> None:
    """One password file may serve several keys, some of them without a password."""
    key = key_pairs.load((folder / "ada.key").read_bytes(), b"tulip")
    text = key_pairs.dump(key, None)
    for name, octets in (("der", pem.decode(text, b"PRIVATE KEY")[0]), ("pem", text)):
        (tmp_path / name).write_bytes(octets)
        who = ("--key", tmp_path / name, "--cert", folder / "ada.pem", "--password-file", folder / "pw")
        _run("smime", "sign", folder / "message.eml", *who, "--out", tmp_path / "signed")
        _run("smime", "verify", tmp_path / "signed", *_anchor(folder))


def test_a_detached_file(folder: Path) -> None:
    """A plain file signed apart; the address is given on the command line."""
    plain, cms = folder / "plain.bin", folder / "plain.p7s"
    plain.write_bytes(bytes(range(256)))
    _run("smime", "sign", plain, *_who(folder, "ada"), "--cms", "--detached", "--out", cms)
    more = (*_anchor(folder), "--content", plain, "--from")
    _run("smime", "verify", cms, *more, "ada@rosewood.test")
    _run("smime", "verify", cms, *more, "bob@rosewood.test", code=1)
    plain.write_bytes(b"other")
    _run("smime", "verify", cms, *more, "ada@rosewood.test", code=1)


def test_encrypt_and_decrypt(folder: Path) -> None:
    """Signed, then encrypted with its subject: Bob reads it, Ada's key does not."""
    signed, sealed, opened = (folder / name for name in ("s.eml", "e.eml", "d.eml"))
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--protect-header", "--out", signed)
    _run("smime", "encrypt", signed, "--to", folder / "bob.pem", "--protect-header", "--out", sealed)
    assert b"Plans" not in sealed.read_bytes()
    _run("smime", "decrypt", sealed, *_who(folder, "bob"), "--out", opened)
    assert b"Subject: Plans" in opened.read_bytes()
    _run("smime", "verify", opened, *_anchor(folder))
    assert "none of the keys" in _run("smime", "decrypt", sealed, *_who(folder, "ada"), code=1).output
    layers = json.loads(_run("smime", "inspect", sealed, "--json").output)["layers"]
    assert layers[0]["cipher"] == "AES-256-GCM"
    _run("smime", "encrypt", signed, "--to", folder / "bob.pem", "--cipher", "3des", code=1)


def test_compress_and_expand(folder: Path) -> None:
    """There and back."""
    small = folder / "small.eml"
    _run("smime", "compress", folder / "message.eml", "--out", small)
    expanded = _run("smime", "expand", small).stdout_bytes
    assert expanded.endswith(b"\r\n\r\nTonight.\r\n")
    assert b"Subject: Plans" in expanded


def test_receipts(folder: Path) -> None:
    """Asked by Ada, given by Bob, matched with what was sent, and with nothing else."""
    asked, given = folder / "asked.eml", folder / "receipt.eml"
    _run("smime", "receipt", "request", folder / "message.eml", *_who(folder, "ada"), "--to", "ada@rosewood.test",
         "--out", asked)  # fmt: skip
    _run("smime", "receipt", "give", asked, *_who(folder, "bob"), "--out", given)
    checked = json.loads(_run("smime", "receipt", "check", given, "--sent", asked, "--json").output)
    assert checked["from"] == "bob@rosewood.test"
    other = folder / "other.eml"
    _run("smime", "receipt", "request", folder / "message.eml", *_who(folder, "ada"), "--to", "x@y", "--out", other)
    _run("smime", "receipt", "check", given, "--sent", other, code=1)


def test_certificates_and_capabilities(folder: Path) -> None:
    """What a message brings and announces."""
    signed = folder / "caps.eml"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", signed)
    (found,) = json.loads(_run("smime", "certs", signed, "--json").output)
    assert found["addresses"] == ["ada@rosewood.test"]
    assert json.loads(_run("smime", "capabilities", signed, "--json").output)[0] == "AES-256-GCM"


@pytest.mark.parametrize("name", ["message.eml", "pw", "ada.pem"])
def test_garbage_is_answered_with_a_sentence(folder: Path, name: str) -> None:
    """Wrong files end in exit 1 and one line."""
    result = _run("smime", "decrypt", folder / name, *_who(folder, "bob"), code=1)
    assert len(result.output.splitlines()) == 1
    result = _run("smime", "verify", folder / name, *_anchor(folder), code=1)
    assert "Traceback" not in result.output


def test_a_label_decides_who_reads(folder: Path) -> None:
    """Labelled when signed, judged by a policy file."""
    labelled, policies = folder / "labelled.eml", folder / "labels.toml"
    policies.write_text('[policy.house]\noid = "1.2.3.4"\nclearances = { "bob@rosewood.test" = 3 }\n')
    _run(
        "smime",
        "sign",
        folder / "message.eml",
        *_who(folder, "ada"),
        "--label",
        "1.2.3.4:3:eyes only",
        "--out",
        labelled,
    )
    _run("smime", "verify", labelled, *_anchor(folder))
    _run("smime", "label", labelled, "--policies", policies, "--reader", "bob@rosewood.test")
    _run("smime", "label", labelled, "--policies", policies, "--reader", "eve@rosewood.test", code=1)


def test_a_list_is_expanded(folder: Path) -> None:
    """Encrypted to the list, opened by a member; a message that came through it before is refused."""
    sealed, out = folder / "to-list.eml", folder / "expanded"
    _run("smime", "encrypt", folder / "message.eml", "--to", folder / "ada.pem", "--out", sealed)
    arguments = ("--address", "list@rosewood.test", *_who(folder, "ada"), "--member", folder / "bob.pem")
    done = json.loads(_run("smime", "expand-list", sealed, *arguments, "--out-folder", out, "--json").output)
    assert (out / done["file"]).with_suffix(".to").read_text() == "bob@rosewood.test\n"
    layers = json.loads(_run("smime", "inspect", out / done["file"], "--key", folder / "bob.key", "--password-file",
                             folder / "pw", "--json").output)["layers"]  # fmt: skip
    assert len(layers) == 2
    again = _run("smime", "expand-list", out / done["file"], *arguments, "--out-folder", out, "--json", code=1)
    assert json.loads(again.output)["expanded"] is False


def test_enrolment_by_mail(folder: Path) -> None:
    """`ca mail` answers a request with a challenge to the address, and its answer with the certificate."""
    out = folder / "letters"
    arguments = ("--address", "ca@rosewood.test", "--folder", folder / "ca", "--password-file", folder / "pw",
                 "--out-folder", out, "--json")  # fmt: skip
    request = base64.encodebytes(pem.decode((folder / "bob.p10").read_bytes(), b"CERTIFICATE REQUEST")[0])
    asked, confirmed = folder / "asked.eml", folder / "confirmed.eml"
    asked.write_bytes(
        b"From: bob@rosewood.test\nTo: ca@rosewood.test\nMIME-Version: 1.0\nContent-Type: application/pkcs10\n"
        b"Content-Transfer-Encoding: base64\n\n" + request
    )
    (challenge,) = json.loads(_run("ca", "mail", asked, *arguments).output)
    token = re.search(rb"[0-9a-f]{40}", (out / challenge["file"]).read_bytes())
    assert token is not None
    confirmed.write_bytes(b"From: bob@rosewood.test\nSubject: Re: yes\n\n> " + token[0] + b"\n")
    (letter,) = json.loads(_run("ca", "mail", confirmed, *arguments).output)
    brought = json.loads(_run("smime", "certs", out / letter["file"], "--json").output)
    assert ["bob@rosewood.test"] in [each["addresses"] for each in brought]
    assert json.loads(_run("ca", "mail", confirmed, *arguments).output) == []


def test_large_files_go_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a size everything is done in pieces, with the same results; nothing is left of what fails."""
    monkeypatch.setattr("letterlock.cli.smime_large.LARGE_OCTETS", 1000)
    plain = folder / "large.bin"
    plain.write_bytes(bytes(range(256)) * 4000)
    message = folder / "large.eml"
    message.write_bytes(MESSAGE.replace(b"\n", b"\r\n") + b"More.\r\n" * 9000)
    names = ("signed", "sealed", "opened", "damaged")
    signed, sealed, opened, damaged = (folder / f"large.{name}" for name in names)
    for source, form in ((plain, "--cms"), (message, "--opaque")):
        _run("smime", "sign", source, form, *_who(folder, "ada"), "--out", signed)
        sender = ("--from", "ada@rosewood.test") if form == "--cms" else ()
        _run("smime", "verify", signed, *_anchor(folder), *sender)
        _run("smime", "verify", signed, *_anchor(folder), "--from", "bob@rosewood.test", code=1)
        _run("smime", "encrypt", signed, "--to", folder / "bob.pem", *(["--cms"] if sender else []), "--out", sealed)
        _run("smime", "decrypt", sealed, *_who(folder, "bob"), "--out", opened)
        _run("smime", "verify", opened, *_anchor(folder), *sender)
        octets = bytearray(sealed.read_bytes())
        octets[-100] ^= 1
        damaged.write_bytes(octets)
        before = sorted(folder.iterdir())
        _run("smime", "decrypt", damaged, *_who(folder, "bob"), "--out", folder / "never", code=1)
        assert sorted(folder.iterdir()) == before


def test_revocation_reaches_the_verdict(folder: Path) -> None:
    """Revoked by the authority's command, refused by the reader's."""
    signed, listed = folder / "revoked.eml", folder / "list.crl"
    authority = ("--folder", folder / "ca", "--password-file", folder / "pw")
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", signed)
    _run("ca", "crl", *authority, "--out", listed)
    _run("smime", "verify", signed, *_anchor(folder), "--crl", listed, "--require-revocation")
    serial = json.loads(_run("ca", "list", *authority, "--json").output)["certificates"][0]["serial"]
    _run("ca", "revoke", serial, "--reason", "key-compromise", *authority)
    _run("ca", "crl", *authority, "--out", listed)
    assert "was revoked" in _run("smime", "verify", signed, *_anchor(folder), "--crl", listed, code=1).output


def test_shared_keys_and_passwords(tmp_path: Path) -> None:
    """Each opens what was encrypted for it; a wrong one, an unnamed one and one that is none are told apart from success."""
    (tmp_path / "letter").write_bytes(MESSAGE)
    (tmp_path / "key").write_text("00112233445566778899aabbccddeeff\n")
    (tmp_path / "other").write_text("ff112233445566778899aabbccddeeff\n")
    (tmp_path / "short").write_text("0011\n")
    (tmp_path / "none").write_text("tulip\n")
    sealed = tmp_path / "sealed"
    named = ("--shared-key-id", "0102")
    _run("smime", "encrypt", tmp_path / "letter", "--shared-key-file", tmp_path / "key", *named, "--to-password-file",
         tmp_path / "none", "--out", sealed)  # fmt: skip
    for secret in (("--shared-key-file", tmp_path / "key", *named), ("--with-password-file", tmp_path / "none")):
        assert b"Tonight." in _run("smime", "decrypt", sealed, *secret).stdout_bytes
    for secret, reason in (
        (("--shared-key-file", tmp_path / "other", *named), "none of the keys at hand"),
        (("--shared-key-file", tmp_path / "key", "--shared-key-id", "0103"), "none of the keys at hand"),
        (("--shared-key-file", tmp_path / "key"), "--shared-key-id takes"),
        (("--shared-key-file", tmp_path / "short", *named), "16, 24 or 32 octets, and this one 2"),
        (("--shared-key-file", tmp_path / "none", *named), "no key in hexadecimal"),
        (("--with-password-file", tmp_path / "key"), "none of the keys at hand"),
    ):
        refused = _run("smime", "decrypt", sealed, *secret, code=1)
        assert reason in refused.output
        assert "Tonight." not in refused.output
    assert "to decrypt with" in _run("smime", "decrypt", sealed, code=64).output


def test_recipients_are_vetted(folder: Path, tmp_path: Path) -> None:
    """Revoked by a list, of a stranger's authority, or of nobody knows: refused, or said. Nothing is written then."""
    authority = ("--folder", folder / "ca", "--password-file", folder / "pw")
    key, made = tmp_path / "eve.key", tmp_path / "eve.pem"
    _run("keys", "generate", "p256", "--out", key, "--password-file", folder / "pw")
    _run("smime", "csr", "--key", key, "--address", "eve@rosewood.test", "--password-file", folder / "pw",
         "--out", tmp_path / "eve.p10")  # fmt: skip
    number = json.loads(_run("ca", "request", tmp_path / "eve.p10", *authority, "--json").output)["request"]
    _run("ca", "approve", number, *authority)
    _run("ca", "issue", number, *authority, "--out", made)
    _run("ca", "crl", *authority, "--out", tmp_path / "before.crl")
    sealed = tmp_path / "sealed.eml"
    encrypt = ("smime", "encrypt", folder / "message.eml", "--to", made, "--out", sealed)
    said = _run(*encrypt, *_anchor(folder))
    assert "eve.pem may have been revoked, which could not be told: no current revocation list" in said.output
    assert "may have been" not in _run(*encrypt, *_anchor(folder), "--crl", tmp_path / "before.crl").output
    sealed.unlink()
    refused = _run(*encrypt, *_anchor(folder), "--require-revocation", code=1)
    assert "eve.pem is not encrypted to: it may have been revoked, which could not be told" in refused.output
    serial = json.loads(_run("smime", "certs", made, "--json").output)[0]["serial"]
    _run("ca", "revoke", serial, *authority, "--reason", "key-compromise")
    _run("ca", "crl", *authority, "--out", tmp_path / "after.crl")
    refused = _run(*encrypt, *_anchor(folder), "--crl", tmp_path / "after.crl", code=1)
    assert re.search(r"eve\.pem is not encrypted to: .* was revoked on .* \(key compromise\)", refused.output)
    stranger = _run(*encrypt, "--anchor", folder / "bob.pem", code=1)
    assert "eve.pem is not encrypted to: no path leads from" in stranger.output
    assert "tell nothing without an --anchor" in _run(*encrypt, "--crl", tmp_path / "after.crl", code=64).output
    assert not sealed.exists()
    lists = ("smime", "expand-list", folder / "message.eml", "--address", "bob@rosewood.test", *_who(folder, "bob"))
    out = ("--out-folder", tmp_path / "out", "--member", made)
    refused = _run(*lists, *out, *_anchor(folder), "--crl", tmp_path / "after.crl", code=1)
    assert "eve.pem is not encrypted to" in refused.output


def test_who_has_run_out_is_not_encrypted_to(folder: Path, tmp_path: Path) -> None:
    """Without an anchor, too: this one ended yesterday, that one is for signing."""
    now = datetime.datetime.now(datetime.UTC)
    authority = issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), now - datetime.timedelta(days=9), 8, 1)
    usages = issue.usages_of(authority.key.public)
    ended = issue.certify(
        authority, authority.key.public, Name.make(CN="Old"), ("old@x.test",), usages,
        when=now - datetime.timedelta(days=9), days=8, serial=2,
    )  # fmt: skip
    (tmp_path / "old.pem").write_bytes(pem.encode("CERTIFICATE", ended.octets))
    said = _run("smime", "encrypt", folder / "message.eml", "--to", tmp_path / "old.pem", code=1).output
    assert re.fullmatch(r".*old\.pem is not encrypted to: expired on [0-9-]+ [0-9:]+ UTC\n", said)
    (tmp_path / "root.pem").write_bytes(pem.encode("CERTIFICATE", _signs_only().octets))
    said = _run("smime", "encrypt", folder / "message.eml", "--to", tmp_path / "root.pem", code=1).output
    assert "root.pem is not encrypted to: the certificate's key is not for encryption" in said


def _signs_only() -> Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), now, 8, 1).certificate


def test_decrypting_with_a_store_teaches_it_of_the_author(folder: Path, tmp_path: Path) -> None:
    """Bob's store opens what Ada wrote, and knows afterwards her certificate, what she reads and what she used."""
    store = ("--store", tmp_path / "store", "--password-file", folder / "pw")
    for name in ("bob.key", "bob.pem"):
        _run("keys", "import", folder / name, "--file-password", folder / "pw", *store)
    _run("keys", "import", folder / "ca" / "ca.pem", "--anchor", *store)
    signed, sealed = tmp_path / "signed", tmp_path / "sealed"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", signed)
    _run("smime", "encrypt", signed, "--to", folder / "bob.pem", "--cipher", "aes192-cbc", "--out", sealed)
    asked = ("smime", "decrypt", sealed, "--store", tmp_path / "store")
    assert "needs the file with its password" in _run(*asked, code=1).output
    opened = _run(*asked, "--store-password-file", folder / "pw")
    assert b"Tonight." in opened.stdout_bytes
    learned = KeyStore(tmp_path / "store", b"tulip")
    (certificate,) = learned.certificates("ada@rosewood.test")
    used, announced = learned.used("ada@rosewood.test"), learned.remembered("ada@rosewood.test")
    learned.close()
    assert certificate.source == "signed mail"
    assert used is not None
    assert used.cipher == oids.AES192_CBC
    assert announced is not None


@pytest.mark.parametrize("form", ["--opaque", "--cms", ""])
def test_signatures_that_hold_together(folder: Path, tmp_path: Path, form: str) -> None:
    """RFC 5752: with one of two taken off nothing is proved; without --together the rest still is."""
    second = ("--key", folder / "second.key", "--cert", folder / "second.pem")
    if not (folder / "second.pem").exists():
        authority = ("--folder", folder / "ca", "--password-file", folder / "pw")
        _run("keys", "generate", "rsa2048", "--out", folder / "second.key", "--password-file", folder / "pw")
        _run("smime", "csr", "--key", folder / "second.key", "--address", "ada@rosewood.test",
             "--password-file", folder / "pw", "--out", folder / "second.p10")  # fmt: skip
        number = json.loads(_run("ca", "request", folder / "second.p10", *authority, "--json").output)["request"]
        _run("ca", "approve", number, *authority)
        _run("ca", "issue", number, *authority, "--out", folder / "second.pem")
    more = (form,) if form else ()
    who = ("--from", "ada@rosewood.test")
    for together, good in ((("--together",), False), ((), True)):
        made = tmp_path / "made"
        _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), *second, *more, *together, "--out", made)
        verdict = json.loads(_run("smime", "verify", made, *_anchor(folder), *who, "--json").output)
        assert [each["good"] for each in verdict["signers"]] == [True, True]
        (layer,) = (unwrap_cms if form == "--cms" else unwrap)(made.read_bytes()).layers
        assert isinstance(layer, SignedLayer)
        found = layer.signed
        cms = signed.encode(oids.DATA, layer.content, found.signers[:1], found.certificates)
        (tmp_path / "stripped").write_bytes(cms)
        code = 0 if good else 1
        verdict = json.loads(
            _run("smime", "verify", tmp_path / "stripped", *_anchor(folder), *who, "--json", code=code).output
        )
        assert verdict["good"] is good
        assert any("that another one names was taken away" in reason for reason in verdict["reasons"]) is not good
    assert (
        "for several keys"
        in _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--together", code=64).output
    )


@pytest.mark.parametrize("form", ["--opaque", "--cms", ""])
def test_countersigned(folder: Path, tmp_path: Path, form: str) -> None:
    """Bob signs Ada's signature, which holds as before; one that does not hold is not countersigned."""
    made, both = tmp_path / "made", tmp_path / "both"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), *([form] if form else []), "--out", made)
    _run("smime", "countersign", made, *_who(folder, "bob"), "--out", both)
    verdict = json.loads(
        _run("smime", "verify", both, *_anchor(folder), "--from", "ada@rosewood.test", "--json").output
    )
    assert len(verdict["signers"]) == 1
    (layer,) = (unwrap_cms if form == "--cms" else unwrap)(both.read_bytes()).layers
    assert isinstance(layer, SignedLayer)
    (counter,) = layer.checks[0].counter_signatures
    assert counter.good
    assert counter.certificate is not None
    assert counter.certificate.addresses == ("bob@rosewood.test",)
    assert "    countersigned by number" in _run("smime", "inspect", both).output
    if not form:
        (tmp_path / "changed").write_bytes(made.read_bytes().replace(b"Tonight", b"Tomorrow"))
        said = _run("smime", "countersign", tmp_path / "changed", *_who(folder, "bob"), code=1).output
        assert "changed has a signature that does not hold: the content was changed" in said
        assert "message.eml is not signed" in _run(
            "smime", "countersign", folder / "message.eml", *_who(folder, "bob"), code=1
        ).output  # fmt: skip


def test_countersigned_apart(folder: Path, tmp_path: Path) -> None:
    """A signature that stands apart from what it covers stays apart; without that, or with another, it is not touched."""
    plain, made, both = tmp_path / "plain", tmp_path / "made.p7s", tmp_path / "both.p7s"
    plain.write_bytes(bytes(range(256)))
    _run("smime", "sign", plain, *_who(folder, "ada"), "--cms", "--detached", "--out", made)
    _run("smime", "countersign", made, *_who(folder, "bob"), "--content", plain, "--out", both)
    verdict = json.loads(
        _run(
            "smime", "verify", both, *_anchor(folder), "--content", plain, "--from", "ada@rosewood.test", "--json"
        ).output
    )
    assert [each["addresses"] for each in verdict["signers"]] == [["ada@rosewood.test"]]
    assert SignedData.read(both.read_bytes()).content is None
    ((counter,),) = [
        check.counter_signatures for check in verify(SignedData.read(both.read_bytes()), plain.read_bytes())
    ]
    assert counter.good
    said = _run("smime", "countersign", made, *_who(folder, "bob"), code=1).output
    assert "made.p7s is not signed so that it could be read: a detached signature without its content" in said
    assert "named with --content" in said
    (tmp_path / "other").write_bytes(b"other")
    said = _run("smime", "countersign", made, *_who(folder, "bob"), "--content", tmp_path / "other", code=1).output
    assert "made.p7s has a signature that does not hold: the content was changed" in said


def test_countersigned_in_a_file_of_this_machine(folder: Path, tmp_path: Path) -> None:
    """A multipart/signed whose lines lost their CRLF in a file comes out with them, and proves what it did."""
    made, both = tmp_path / "made", tmp_path / "both"
    _run("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", made)
    made.write_bytes(made.read_bytes().replace(b"\r\n", b"\n"))
    _run("smime", "countersign", made, *_who(folder, "bob"), "--out", both)
    assert has_canonical_lines(both.read_bytes())
    _run("smime", "verify", both, *_anchor(folder))
    assert "    countersigned by number" in _run("smime", "inspect", both).output


def test_the_cipher_is_what_the_recipient_reads(folder: Path, tmp_path: Path) -> None:
    """By what the key store remembers, else by the certificate, else by --for-unknown; named ones go before all rules."""
    store, out = tmp_path / "keys.db", tmp_path / "out"
    kept = KeyStore(store, b"tulip")
    when = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    encrypt = ("smime", "encrypt", folder / "message.eml", "--to", folder / "bob.pem", "--out", out, "--json")
    knowing = ("--store", store, "--store-password-file", folder / "pw")

    def chosen(*options: object) -> tuple[str, object, str]:
        told = json.loads(_run(*encrypt, *options).output)
        (one,) = told["recipients"] or [{"rule": None, "reason": "", "cipher": told["cipher"]}]
        assert told["cipher"] == one["cipher"]
        layers = json.loads(_run("smime", "inspect", out, "--json").output)["layers"]
        assert layers[0]["cipher"] == told["cipher"]
        return told["cipher"], one["rule"], one["reason"]

    unknown = "nothing is known of what bob@rosewood.test reads: what RFC 8551 asks everybody to read"
    assert chosen() == ("AES-256-GCM", 3, unknown)
    assert chosen(*knowing) == ("AES-256-GCM", 3, unknown)
    assert chosen("--for-unknown", "cbc")[:2] == ("AES-128-CBC", 3)
    kept.remember_used(UsedCipher("bob@rosewood.test", oids.AES192_CBC, when))
    assert chosen(*knowing)[:2] == ("AES-192-CBC", 2)
    kept.remember(Remembered("bob@rosewood.test", (Capability(oids.AES128_CBC),), when))
    said = "bob@rosewood.test announced it in mail signed on 2026-11-01"
    assert chosen(*knowing) == ("AES-128-CBC", 1, said)
    assert chosen()[1] == 3
    assert chosen(*knowing, "--cipher", "aes256-gcm") == ("AES-256-GCM", None, "")
    verbose = _run(*encrypt[:-1], *knowing, "--verbose")
    assert verbose.stderr == f"bob@rosewood.test: AES-128-CBC by rule 1, {said}\n"
    named = _run(*encrypt[:-1], "--cipher", "aes256-cbc", "--verbose")
    assert named.stderr == "AES-256-CBC: named with --cipher\n"
    kept.remember(Remembered("bob@rosewood.test", OURS, when + datetime.timedelta(days=1)))
    assert json.loads(_run(*encrypt, *knowing).output)["bind_key"] is True
    # who knows a password announced nothing
    assert json.loads(_run(*encrypt, *knowing, "--to-password-file", folder / "pw").output)["bind_key"] is False


def test_recipients_without_a_common_cipher(folder: Path, tmp_path: Path) -> None:
    """One file has one cipher: where none serves all, the reason is said; weak ones are written with --legacy alone."""
    store, out = tmp_path / "keys.db", tmp_path / "out"
    kept = KeyStore(store, b"tulip")
    when = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    encrypt = ("smime", "encrypt", folder / "message.eml", "--out", out, "--store", store,
               "--store-password-file", folder / "pw", "--to", folder / "bob.pem")  # fmt: skip
    kept.remember(Remembered("bob@rosewood.test", (Capability(oids.DES3_CBC),), when))
    said = _run(*encrypt, code=1).output
    assert "bob@rosewood.test reads only Triple-DES-CBC, which is written only with the legacy setting" in said
    told = json.loads(_run(*encrypt, "--legacy", "--json").output)
    assert (told["cipher"], told["recipients"][0]["rule_name"]) == ("Triple-DES-CBC", "weak")
    kept.remember(Remembered("ada@rosewood.test", (Capability(oids.AES256_GCM),), when))
    said = _run(*encrypt, "--to", folder / "ada.pem", "--legacy", code=1).output
    assert "ada@rosewood.test reads AES-256-GCM; bob@rosewood.test reads Triple-DES-CBC" in said
    assert "--json needs --out" in _run(*encrypt[:3], "--to", folder / "bob.pem", "--json", code=64).output


def test_a_label_and_what_it_is_called_elsewhere(folder: Path, tmp_path: Path) -> None:
    """Who knows only the other policy reads by that (RFC 2634 section 3.4)."""
    made = tmp_path / "labelled"
    (tmp_path / "policies").write_text('[policy.theirs]\noid = "1.9"\nclearances = { "bob@x.test" = 2 }\n')
    sign = ("smime", "sign", folder / "message.eml", *_who(folder, "ada"), "--out", made)
    read = ("smime", "label", made, "--policies", tmp_path / "policies", "--reader", "bob@x.test")
    _run(*sign, "--label", "1.2.3:4")
    assert "of a policy not known here" in _run(*read, code=1).output
    _run(*sign, "--label", "1.2.3:4", "--equivalent-label", "1.9:2")
    assert "bob@x.test is cleared for" in _run(*read).output
    _run(*sign, "--equivalent-label", "1.9:2", code=64)
