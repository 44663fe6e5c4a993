"""One bit of an S/MIME object turned over, at every octet in turn: no change makes another letter a good one."""

from __future__ import annotations

import pytest
from tests.trust.smime.conftest import People

from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.proof import prove
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.unwrap import unwrap_cms

INSIDE = b"Content-Type: text/plain\r\n\r\nAt noon.\r\n"
_HEADER = read_header(b"From: ada@rosewood.test\r\n\r\n")


def _changes(octets: bytes) -> list[bytes]:
    return [octets[:at] + bytes((octets[at] ^ 1 << at % 8,)) + octets[at + 1 :] for at in range(len(octets))]


@pytest.mark.parametrize("with_attributes", [True, False])
def test_of_a_signed_letter(people: People, with_attributes: bool) -> None:
    """What still holds says the same, of the same signer; only what no signature covers may be changed at all."""
    ada = people.named("ada")
    whole = sign(INSIDE, (ada.signer if with_attributes else _bare(people),), people.now)
    good = 0
    for changed in _changes(whole):
        unwrapped = unwrap_cms(changed)
        proof = prove(_HEADER, unwrapped, people.trust())
        if proof.good:
            good += 1
            assert unwrapped.content == INSIDE
            assert proof.signers[0].certificate == ada.certificate
    # versions, the list of digests, and the type of bare content: nothing that is shown
    assert good < 24


def _bare(people: People):
    from dataclasses import replace

    return replace(people.named("ada").signer, with_attributes=False)


@pytest.mark.parametrize("cipher", [oids.AES256_GCM, oids.AES128_CCM, oids.CHACHA20_POLY1305])
@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048"])
def test_of_an_encrypted_letter(people: People, cipher: str, kind: str) -> None:
    """An authenticated cipher gives the letter as it was, or nothing of it."""
    bob = people.named("bob", kind)
    whole = encrypt(INSIDE, (To(bob.certificate),), cipher=cipher)
    for changed in _changes(whole):
        unwrapped = unwrap_cms(changed, bob.ring)
        opened = [layer for layer in unwrapped.layers if getattr(layer, "opened", None) is not None]
        assert not opened or unwrapped.content == INSIDE
