"""What the S/MIME commands say to who gives them the wrong thing: one sentence that names it, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.cli import smime_files
from letterlock.cli.root import letterlock

MESSAGE = b"From: Ada <ada@rosewood.test>\nTo: bob@rosewood.test\nSubject: Plans\n\nTonight.\n"


def _run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(letterlock, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and Ada, with a signed, an encrypted and a compressed message, and what is none of it."""
    home = tmp_path_factory.mktemp("mistakes")
    (home / "pw").write_text("tulip\n")
    (home / "wrong").write_text("rose\n")
    (home / "plain").write_bytes(MESSAGE)
    (home / "noise").write_bytes(bytes(range(256)) * 12)
    (home / "der").write_bytes(b"\x30\x82" + bytes(range(256)) * 3)
    (home / "empty").touch()
    authority = ("--folder", home / "ca", "--password-file", home / "pw")
    _run("ca", "init", "rosewood.test", "--kind", "p256", *authority)
    _run("keys", "generate", "p256", "--out", home / "key", "--password-file", home / "pw")
    csr = ("smime", "csr", "--key", home / "key", "--address", "ada@rosewood.test", "--password-file", home / "pw")
    _run(*csr, "--out", home / "request")
    _run("ca", "request", home / "request", *authority)
    _run("ca", "approve", 1, *authority)
    _run("ca", "issue", 1, *authority, "--out", home / "cert")
    _run("smime", "sign", home / "plain", *_who(home), "--label", "1.2.3:3", "--out", home / "signed")
    _run("smime", "encrypt", home / "plain", "--to", home / "cert", "--out", home / "sealed")
    _run("smime", "compress", home / "plain", "--out", home / "small")
    (home / "policies").write_text('[policy.x]\noid = "1.2.3"\nclearances = { "ada@rosewood.test" = 5 }\n')
    (home / "tampered").write_bytes((home / "signed").read_bytes().replace(b"Tonight", b"Tomorrow"))
    return home


def _who(folder: Path) -> tuple[object, ...]:
    return ("--key", folder / "key", "--cert", folder / "cert", "--password-file", folder / "pw")


WHO = "--key key --cert cert --password-file pw"
MISTAKES = {
    "verify noise": "The message is not signed; nothing proves who sent it.\n  reason: the message is not signed",
    "verify empty": "The message is not signed; nothing proves who sent it.",
    "verify cert": "cert holds no S/MIME object: no CMS among the PEM blocks",
    "verify der": "Nothing is proved: ",
    "verify signed --anchor plain": "plain holds no certificate: it is neither PEM nor DER",
    "verify signed --anchor empty": "empty holds no certificate: it is empty",
    "verify signed --anchor der": "der holds no certificate: ",
    "verify signed --anchor key": "key holds no certificate: no CERTIFICATE among the PEM blocks",
    "verify signed --crl noise": "noise holds no revocation list: it is neither PEM nor DER",
    "sign plain --key noise --cert cert": "noise holds no private key: it is neither PEM nor DER",
    "sign plain --key cert --cert cert": "cert holds no private key: neither PKCS#8 nor an older form of a key",
    "sign plain --key key --cert cert": "key: this key is encrypted and needs its password",
    "sign plain --key key --cert cert --password-file wrong": "key: the password does not open this key",
    f"sign plain {WHO} --label nonsense": "'nonsense' is neither an object identifier nor a policy known here",
    "encrypt plain --to key": "key holds no certificate: no CERTIFICATE among the PEM blocks",
    "encrypt plain --to cert --cipher 3des": "Triple-DES-CBC is written only with the legacy setting",
    f"decrypt plain {WHO}": "plain is not encrypted\n",
    f"decrypt noise {WHO}": "noise is not encrypted\n",
    f"decrypt signed {WHO}": "signed is not encrypted\n",
    "decrypt sealed --key other --cert cert": "sealed cannot be decrypted: ",
    "expand plain": "plain is not compressed: it is plain\n",
    "expand signed": "signed is not compressed: it is signed (clear), 1 signature\n",
    "expand sealed": "sealed is not compressed: none of the keys at hand is that of a recipient\n",
    "compress sealed": "an encrypted or compressed message does not become smaller: compress it before\n",
    "certs noise": "noise holds no certificate: nobody signed it",
    "capabilities plain": "plain is not signed\n",
    f"receipt give signed {WHO}": "no receipt was asked for\n",
    f"receipt give plain {WHO}": "plain is not signed\n",
    "receipt check plain --sent signed": "plain is no signed receipt\n",
    "label signed --policies noise --reader a@x.test": "noise holds no label policies: ",
    "csr --key key --password-file pw --address nonsense": "'nonsense' is no mail address\n",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_each_mistake_has_its_sentence(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1, one sentence that names the file and what is wrong with it; nothing is written."""
    monkeypatch.chdir(folder)
    if not (folder / "other").exists():
        _run("keys", "generate", "p256", "--out", "other", "--password-file", "pw")
    words = command.replace("--key other --cert cert", "--key other --cert cert --password-file pw").split()
    said = _run("smime", *words, code=1).output
    assert said.startswith(MISTAKES[command])
    assert "Traceback" not in said
    if words[0] in ("verify", "certs", "capabilities") or words[:2] == ["receipt", "check"]:
        value = json.loads(_run("smime", *words, "--json", code=1).output)
        reasons = value["reasons"] if "reasons" in value else [value["error"]]
        assert reasons
        assert all(reason in said for reason in reasons)


def test_of_whom_to_encrypt_to_nothing_is_said(folder: Path) -> None:
    """That is a wrong command line."""
    said = _run("smime", "encrypt", folder / "plain", code=64).output
    assert said == "say for whom: --to a certificate, --to-password-file or --shared-key-file\n"


def test_each_reason_stands_in_the_json(folder: Path) -> None:
    """Of a changed message by somebody else without an anchor: three reasons, whose chain leads nowhere."""
    (folder / "foreign").write_bytes((folder / "tampered").read_bytes().replace(b"Ada <ada@", b"Eve <eve@"))
    value = json.loads(_run("smime", "verify", folder / "foreign", "--json", code=1).output)
    assert len(value["reasons"]) == 3
    assert [
        word in " ".join(value["reasons"]) for word in ("was changed", "says it is from eve@", "no path leads")
    ] == [True] * 3
    good = _run("smime", "verify", folder / "signed", "--anchor", folder / "ca" / "ca.pem", "--json").output
    assert json.loads(good)["signers"][0]["chain"] == [
        "CN=ada@rosewood.test",
        "CN=rosewood.test mail authority, O=rosewood.test",
    ]


def test_a_label_counts_though_its_signature_does_not_hold(folder: Path) -> None:
    """Who tampers with a message does not make it readable."""
    label = ("--policies", folder / "policies", "--reader", "eve@x.test", "--json")
    for name in ("signed", "tampered"):
        value = json.loads(_run("smime", "label", folder / name, *label, code=1).output)
        assert value == {"allowed": False, "reason": "eve@x.test has no clearance under the policy x"}
    assert json.loads(_run("smime", "label", folder / "plain", *label).output)["allowed"] is True


def test_expanding_takes_off_compression_alone(folder: Path, tmp_path: Path) -> None:
    """What was signed before it was compressed comes out signed."""
    _run("smime", "compress", folder / "signed", "--out", tmp_path / "small")
    _run("smime", "expand", tmp_path / "small", "--out", tmp_path / "large")
    _run("smime", "verify", tmp_path / "large", "--anchor", folder / "ca" / "ca.pem")


def test_inspect_names_signers_and_recipients(folder: Path) -> None:
    """By issuer and number, for people and programs."""
    serial = json.loads(_run("smime", "certs", folder / "cert", "--json").output)[0]["serial"]
    name = f"number {serial} of CN=rosewood.test mail authority, O=rosewood.test"
    assert f"  to {name}, ECDH" in _run("smime", "inspect", folder / "sealed").output
    assert f"  by {name}, ECDSA" in _run("smime", "inspect", folder / "signed").output
    (layer,) = json.loads(_run("smime", "inspect", folder / "sealed", "--json").output)["layers"]
    assert layer["recipients"][0]["names"] == [name]
    assert "  by " in _run("smime", "inspect", folder / "tampered").output


def test_an_authority_tells_what_it_issued(folder: Path, tmp_path: Path) -> None:
    """Serial number, addresses and PEM in JSON, so that a script can install and later revoke it."""
    authority = ("--folder", tmp_path / "ca", "--password-file", folder / "pw")
    founded = json.loads(_run("ca", "init", "rosewood.test", "--kind", "p256", *authority, "--json").output)
    assert founded["anchor"] == f"{tmp_path}/ca/ca.pem"
    _run("ca", "request", folder / "request", *authority)
    _run("ca", "approve", 1, *authority)
    issued = json.loads(_run("ca", "issue", 1, *authority, "--json").output)
    assert issued["addresses"] == ["ada@rosewood.test"]
    assert issued["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    renewed = json.loads(_run("ca", "renew", issued["serial"], *authority, "--json", "--out", tmp_path / "new").output)
    assert (tmp_path / "new").read_text() == renewed["certificate"]
    assert renewed["serial"] != issued["serial"]


@pytest.mark.parametrize("line", ["", "\n"])
def test_an_empty_password_protects_nothing(folder: Path, tmp_path: Path, line: str) -> None:
    """Neither an authority nor a key nor a store is made with one; nothing is left behind."""
    (tmp_path / "pw").write_text(line)
    password = ("--password-file", tmp_path / "pw")
    for words in (
        ("ca", "init", "rosewood.test", "--folder", tmp_path / "ca"),
        ("keys", "generate", "p256", "--out", tmp_path / "key"),
        ("keys", "generate", "p256", "--store", tmp_path / "store"),
        ("keys", "import", folder / "cert", "--store", tmp_path / "store"),
    ):
        assert "empty" in _run(*words, *password, code=1).output
    assert [path.name for path in tmp_path.iterdir()] == ["pw"]


def test_an_authority_is_for_domains(folder: Path, tmp_path: Path) -> None:
    """What is no domain founds nothing."""
    authority = ("--folder", tmp_path / "ca", "--password-file", folder / "pw")
    assert "is no label of a domain name" in _run("ca", "init", "rose wood", *authority, code=1).output
    assert not (tmp_path / "ca").exists()


def test_mistakes_with_keys(folder: Path, tmp_path: Path) -> None:
    """A store that is not there is not made by looking; a wrong password adds nothing; what holds nothing is named."""
    store = ("--store", tmp_path / "a" / "store", "--password-file", folder / "pw")
    said = _run("keys", "list", *store, code=1).output
    assert said == f"there is no key store {tmp_path}/a/store: `letterlock keys generate` or `import` makes one\n"
    assert not (tmp_path / "a").exists()
    _run("keys", "import", folder / "key", "--file-password", folder / "pw", *store)
    wrong = ("--store", tmp_path / "a" / "store", "--password-file", folder / "wrong")
    assert _run("keys", "generate", "p256", *wrong, code=1).output == "the password does not open this key store\n"
    for name in ("noise", "empty", "plain"):
        said = _run("keys", "import", folder / name, *store, code=1).output
        assert said == f"{folder / name} holds neither a key nor a certificate\n"
    said = _run("keys", "import", folder / "key", *store, code=1).output
    assert said == f"{folder / 'key'}: this key is encrypted and needs its password\n"
    _run("keys", "import", folder / "signed", *store)
    _run("keys", "import", folder / "ca" / "ca.pem", "--anchor", *store)
    listed = _run("keys", "list", *store).output
    assert "ada@rosewood.test" in listed
    assert "CN=rosewood.test mail authority" in listed


def test_what_is_exported_brings_its_authorities(folder: Path, tmp_path: Path) -> None:
    """A PKCS#12 file with the key, its certificate and the authority's."""
    store = ("--store", tmp_path / "store", "--password-file", folder / "pw")
    for name in ("key", "cert"):
        _run("keys", "import", folder / name, "--file-password", folder / "pw", *store)
    _run("keys", "import", folder / "ca" / "ca.pem", "--anchor", *store)
    made = tmp_path / "ada.p12"
    made.write_bytes(b"somebody's key")
    said = _run(
        "keys", "export", "ada@rosewood.test", "--p12", made, "--file-password", folder / "wrong", *store, code=1
    )
    assert said.output == f"{made} is there already; a key is never overwritten\n"
    assert made.read_bytes() == b"somebody's key"
    made.unlink()
    _run("keys", "export", "ada@rosewood.test", "--p12", made, "--file-password", folder / "wrong", *store)
    other = ("--store", tmp_path / "other", "--password-file", folder / "pw")
    value = json.loads(_run("keys", "import", made, "--file-password", folder / "wrong", *other, "--json").output)
    assert (len(value["keys"]), value["certificates"][1]) == (1, "CN=rosewood.test mail authority, O=rosewood.test")
    said = _run("keys", "import", made, "--file-password", folder / "pw", *other, code=1).output
    assert said.startswith(f"{made}: the password does not open this PKCS#12 file")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("request plain", "plain holds no certification request: it is neither PEM nor DER"),
        ("request der", "der holds no certification request: "),
        ("approve 9", "there is no request 9"),
        ("issue 9", "there is no request 9"),
        ("issue 1", "request 1 is issued: it must be approved first"),
        ("revoke zz", "'zz' is no hexadecimal number"),
        ("revoke 1234", "no certificate 1234 that is not revoked already"),
        ("init rosewood.test", "ca holds an authority already"),
    ],
)
def test_mistakes_with_an_authority(folder: Path, words: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its sentence."""
    monkeypatch.chdir(folder)
    assert _run("ca", *words.split(), "--folder", "ca", "--password-file", "pw", code=1).output.startswith(said)
    assert "the password does not open this key" in _run(
        "ca", "list", "--folder", "ca", "--password-file", "wrong", code=1
    ).output  # fmt: skip
    assert "nowhere holds no authority" in _run(
        "ca", "list", "--folder", "nowhere", "--password-file", "pw", code=1
    ).output  # fmt: skip


@pytest.mark.parametrize(
    "words", [f"smime sign plain {WHO} --out nowhere/x", "ca crl --folder ca --password-file pw --out nowhere/x"]
)
def test_a_file_that_cannot_be_written_is_no_verdict(folder: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and the exit code is not that of a signature that is wrong."""
    monkeypatch.chdir(folder)
    assert _run(*words.split(), code=69).output == "nowhere/x: No such file or directory\n"


def test_a_file_that_cannot_be_read_is_no_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what the system will not give, in JSON too; standard input may come twice."""
    monkeypatch.setattr(smime_files, "MAX_FILE_OCTETS", 10)
    value = json.loads(_run("smime", "inspect", folder / "plain", "--json", code=69).output)
    assert value == {"error": f"{folder / 'plain'} is larger than 0 MiB"}


def test_a_wrong_command_line_is_answered_in_json_too(folder: Path) -> None:
    """A file that is not there, an option that is none; exit 64."""
    for words, said in (
        (("verify", folder / "nowhere"), "Invalid value for 'FILE': File"),
        (("verify", folder), "is a directory"),
        (("verify", folder / "signed", "--colour"), "No such option"),
    ):
        assert said in json.loads(_run("smime", *words, "--json", code=64).stdout)["error"]
        assert _run("smime", *words, code=64).output.startswith("Usage: ")
