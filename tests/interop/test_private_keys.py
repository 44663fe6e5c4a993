"""Private keys exchanged with OpenSSL, those the crypto library does not serve among them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from letterlock.errors import NotAuthentic
from letterlock.trust.primitives import key_pairs

pytestmark = pytest.mark.interop


def _openssl(*arguments: object) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("kind", ["dh2048", "p256"])
@pytest.mark.parametrize("password", [None, b"tulip"])
def test_openssl_reads_ours(tmp_path: Path, kind: str, password: bytes | None) -> None:
    """PKCS#8, open and encrypted, with the same public half."""
    key = key_pairs.generate(kind, legacy=True)
    file = tmp_path / "key"
    file.write_bytes(key_pairs.dump(key, password))
    assert _openssl("pkey", "-in", file, "-passin", "pass:tulip", "-pubout", "-outform", "DER") == key.public.encoded


@pytest.mark.parametrize("kind", ["DHX", "DSA", "RSA"])
@pytest.mark.parametrize("options", ["", "-v2 aes-256-cbc", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-v2 des3", "-scrypt",
                                     "-v1 PBE-SHA1-3DES"])  # fmt: skip
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_ours_reads_openssl(tmp_path: Path, kind: str, options: str, form: str) -> None:
    """Whatever it was encrypted with; a scheme of another kind than PBES2 with PBKDF2 is the crypto library's."""
    if kind == "DHX" and ("-scrypt" in options or "-v1" in options):
        options = "-v2 aes-192-cbc"  # nobody writes such a key so: what decrypts these schemes knows no DHX keys
    parameters = {"DHX": ("-pkeyopt", "dh_rfc5114:2"), "RSA": ("-pkeyopt", "rsa_keygen_bits:2048")}
    plain, made = tmp_path / "plain", tmp_path / "made"
    if kind == "DSA":
        plain.write_bytes(key_pairs.dump(key_pairs.generate("dsa2048", legacy=True), None))
    else:
        _openssl("genpkey", "-algorithm", kind, *parameters[kind], "-out", plain)
    protection = (*options.split(), "-passout", "pass:tulip") if options else ("-nocrypt",)
    _openssl("pkcs8", "-topk8", "-in", plain, "-out", made, "-outform", form, *protection)
    octets = made.read_bytes()
    key = key_pairs.load(octets, b"tulip" if options else None)
    assert key.public.encoded == _openssl("pkey", "-in", plain, "-pubout", "-outform", "DER")
    if not options:  # as OpenSSL: what stands open opens, whatever password is at hand
        assert key_pairs.load(octets, b"rose") == key
        return
    with pytest.raises(NotAuthentic):
        key_pairs.load(octets, b"rose")
