"""S/MIME both ways with the NSS that Thunderbird brings: newer than the system's, and with elliptic recipients and OAEP.

Not in `make interop`: the package takes 310 MB. Install `thunderbird`, then run with `-m "interop and slow"`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.interop.nss import Nss
from tests.interop.smime_world import CIPHERS, DIGESTS, ENCRYPTION, NOW, OCTETS, World, signer

from letterlock.formats.asn1 import oids
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.unwrap import unwrap_cms

pytestmark = [pytest.mark.interop, pytest.mark.slow]
_LIBRARIES = Path("/usr/lib/thunderbird")
_BLOCK_CIPHERS = [name for name in CIPHERS if not name.endswith("gcm")]


@pytest.fixture(scope="module")
def thunderbird(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    assert (_LIBRARIES / "libsmime3.so").exists(), "Thunderbird is not installed"
    return Nss(World(tmp_path_factory.mktemp("thunderbird")), _LIBRARIES)


@pytest.mark.parametrize(("kind", "digest"), [*itertools.product(ENCRYPTION, DIGESTS)])
def test_signatures_both_ways(thunderbird: Nss, kind: str, digest: str) -> None:
    """RSA and ECDSA, ours by theirs and theirs by ours."""
    world = thunderbird.world
    ours = sign(OCTETS, (signer(world.person(kind), digest),), NOW)
    assert thunderbird.statuses(ours) == [b"GoodSignature"]
    theirs = thunderbird("-S", "-N", kind, "-H", digest.upper(), "-G", "-P", "-i", world.file(OCTETS))
    world.check(unwrap_cms(theirs), world.person(kind))


@pytest.mark.parametrize(("kind", "cipher"), [*itertools.product((*ENCRYPTION, "rsa-oaep"), _BLOCK_CIPHERS)])
def test_thunderbird_decrypts_ours(thunderbird: Nss, kind: str, cipher: str) -> None:
    """RSA, OAEP and ECDH on three curves by CBC."""
    person = thunderbird.world.person(kind.replace("rsa-oaep", "rsa2048"))
    to = To(person.certificate, Oaep() if kind == "rsa-oaep" else None)
    made = encrypt(OCTETS, (to,), cipher=CIPHERS[cipher], legacy=True)
    assert thunderbird("-D", "-i", thunderbird.world.file(made)) == OCTETS


@pytest.mark.parametrize("kind", ENCRYPTION)
def test_ours_decrypts_thunderbird(thunderbird: Nss, kind: str) -> None:
    """It chooses agreement and cipher itself."""
    person = thunderbird.world.person(kind)
    made = thunderbird("-E", "-r", person.address, "-i", thunderbird.world.file(OCTETS))
    unwrapped = unwrap_cms(made, person.ring)
    assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)


def test_thunderbird_reads_no_gcm(thunderbird: Nss) -> None:
    """Should this fail, it has learnt AuthEnvelopedData, and the documentation must say so."""
    person = thunderbird.world.person("rsa2048")
    made = encrypt(OCTETS, (To(person.certificate),), cipher=oids.AES256_GCM)
    with pytest.raises(AssertionError, match="UNRECOGNIZED_OID"):
        thunderbird("-D", "-i", thunderbird.world.file(made))
