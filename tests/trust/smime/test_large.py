"""A large opaque message is checked while it is decoded, and nothing else comes of it than of one taken whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from tests.trust.smime.conftest import People

from letterlock.formats.asn1 import oids
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime.transfer import decode_base64, encode_base64
from letterlock.trust.smime import stream, unwrap
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.sign import certs_only, sign
from letterlock.trust.smime.unwrap import SignedLayer, Unwrapped

BODY = b"Content-Type: text/plain\r\n\r\n" + b"Roses, as far as one can see.\r\n" * 40_000
FROM = b"From: ada@rosewood.test\r\n"


def _changed(octets: bytes) -> bytes:
    """Change one character of base64 in the middle of the content."""
    middle = len(octets) // 2
    while octets[middle] in b"\r\nA":
        middle += 1
    return octets[:middle] + b"A" + octets[middle + 1 :]


def _streamed(people: People) -> bytes:
    pieces = (BODY[at : at + 5000] for at in range(0, len(BODY), 5000))
    return b"".join(stream.sign(pieces, (people.named("ada").signer,), people.now))


def _signed(people: People, content_type: str = oids.DATA) -> bytes:
    return sign(BODY, (people.named("ada").signer,), people.now, content_type=content_type)


def _other_digest(people: People) -> bytes:
    """Announce SHA-384 where SHA-256 was used, which those who read in pieces cannot know."""
    signed = _signed(people)
    sha256, sha384 = (bytes.fromhex(f"060960864801650304020{digit}") for digit in (1, 2))
    at = signed.index(sha256)
    return signed[:at] + sha384 + signed[at + len(sha384) :]


CASES: dict[str, Callable[[People], bytes]] = {
    "der": lambda people: wrap(FROM, _signed(people), "signed-data"),
    "ber": lambda people: wrap(FROM, _streamed(people), "signed-data"),
    "changed": lambda people: _changed(wrap(FROM, _signed(people), "signed-data")),
    "cut": lambda people: wrap(FROM, _signed(people), "signed-data")[:-900] + b"\r\n",
    "uneven": lambda people: wrap(FROM, _signed(people), "signed-data").replace(b"\r\n\r\n", b"\r\n\r\nMI\r\n", 1)[:-4],
    "line feeds": lambda people: wrap(FROM, _signed(people), "signed-data").replace(b"\r\n", b"\n"),
    "a line behind": lambda people: wrap(FROM, _signed(people), "signed-data") + b"\r\n",
    "octets behind": lambda people: wrap(FROM, _signed(people) + b"behind", "signed-data"),
    "another digest announced": lambda people: wrap(FROM, _other_digest(people), "signed-data"),
    "another type inside": lambda people: wrap(FROM, _signed(people, "1.2.3.4"), "signed-data"),
    "twice": lambda people: wrap(
        FROM, sign(wrap(b"", _signed(people), "signed-data"), (people.named("bob").signer,), people.now), "signed-data"
    ),
    "encrypted": lambda people: wrap(FROM, encrypt(BODY, (To(people.named("ada").certificate),)), "enveloped-data"),
    "nobody": lambda people: wrap(FROM, certs_only((people.named("ada").certificate,) * 1000), "certs-only"),
}  # fmt: skip


def _said(found: Unwrapped) -> object:
    layers = [
        (each.clear, each.content, each.faults, each.signed.digest_algorithms, each.signed.content_type,
         each.signed.certificates, [(check.fault, check.certificate, check.signing_time) for check in each.checks])
        if isinstance(each, SignedLayer) else repr(each)
        for each in found.layers
    ]  # fmt: skip
    return layers, found.content, found.content_type, found.fault, found.parts, found.ambiguities


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_as_if_taken_whole(people: People, make: Callable[[People], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers, contents and faults, whatever is wrong with it."""
    message = make(people)
    found = _said(unwrap.unwrap(message))
    monkeypatch.setattr(unwrap, "LARGE_OCTETS", len(message) + 1)
    assert found == _said(unwrap.unwrap(message))


@pytest.mark.parametrize("case", ["der", "ber"])
def test_it_is_never_there_beside_its_content(people: People, case: str) -> None:
    """What is good is held once, not as the SignedData and as the content both."""
    message = CASES[case](people)
    tracemalloc.start()
    found = unwrap.unwrap(message)
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.content == BODY
    assert most < 1.8 * len(BODY)
    layer = found.layers[0]
    assert isinstance(layer, SignedLayer)
    assert layer.checks[0].good
    assert layer.signed.signers == (layer.checks[0].signer,)


def test_base64_says_the_same_both_ways(people: People) -> None:
    """What is decoded in pieces is what is decoded whole."""
    signed = _signed(people)
    assert decode_base64(encode_base64(signed), []) == signed
    assert SignedData.read(signed).content is not None
