"""S/MIME both ways with NSS (`cmsutil`), the library of Thunderbird and Firefox."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.interop.nss import Nss
from tests.interop.smime_world import CIPHERS, DIGESTS, NOW, OCTETS, SIGNING, World, signer

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import capabilities, content
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime.entity import parse
from letterlock.trust.smime import protect, stream
from letterlock.trust.smime.capabilities import Remembered
from letterlock.trust.smime.choose_cipher import Recipient, Rule, choose
from letterlock.trust.smime.decrypt import KeyRing, open_with_key
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.sign import certs_only, sign
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, unwrap, unwrap_cms

pytestmark = pytest.mark.interop
_BLOCK_CIPHERS = [name for name in CIPHERS if not name.endswith("gcm")]
_SIGN_CASES = [case for case in itertools.product(SIGNING, DIGESTS) if case[0] != "dsa2048" or case[1] == "sha256"]


@pytest.fixture(scope="module")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nss]:
    yield Nss(World(tmp_path_factory.mktemp("nss")))


@pytest.mark.parametrize("form", ["attached", "detached", "bare", "streamed"])
@pytest.mark.parametrize(("kind", "digest"), _SIGN_CASES)
def test_nss_verifies_ours(nss: Nss, kind: str, digest: str, form: str) -> None:
    """Inside and outside, without signed attributes, and as BER in pieces; a changed content is noticed."""
    person = nss.world.person(kind)
    who = (signer(person, digest, with_attributes=form != "bare"),)
    detached = OCTETS if form == "detached" else None
    if form == "streamed":
        made = b"".join(stream.sign([OCTETS[:100], OCTETS[100:]], who, NOW))
    else:
        made = sign(OCTETS, who, NOW, detached=detached is not None)
    assert nss.statuses(made, detached) == [b"GoodSignature"]
    if detached is not None:
        assert nss.statuses(made, OCTETS + b"!") != [b"GoodSignature"]
    else:
        assert nss("-D", "-i", nss.world.file(made)) == OCTETS


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(("kind", "digest"), _SIGN_CASES)
def test_ours_verifies_nss(nss: Nss, kind: str, digest: str, detached: bool) -> None:
    """With signing time, capabilities and preferred key among the attributes."""
    more = ("-T",) if detached else ()
    made = nss("-S", "-N", kind, "-H", digest.upper(), "-G", "-P", *more, "-i", nss.world.file(OCTETS))
    unwrapped = unwrap_cms(made, detached=OCTETS if detached else None)
    nss.world.check(unwrapped, nss.world.person(kind))
    layer = unwrapped.layers[0]
    assert isinstance(layer, SignedLayer)
    assert layer.checks[0].signing_time is not None


@pytest.mark.parametrize("form", ["whole", "streamed", "with a copy for another"])
@pytest.mark.parametrize("cipher", _BLOCK_CIPHERS)
def test_nss_decrypts_ours(nss: Nss, cipher: str, form: str) -> None:
    """RSA with CBC: NSS 3.87 has neither GCM nor OAEP, and reads no elliptic recipients, openssl's neither."""
    to: tuple[To, ...] = (To(nss.world.person("rsa2048").certificate),)
    if form == "with a copy for another":
        to = (To(nss.world.person("rsa3072").certificate), *to)
    if form == "streamed":
        made = b"".join(stream.encrypt([OCTETS[:100], OCTETS[100:]], to, cipher=CIPHERS[cipher], legacy=True))
    else:
        made = encrypt(OCTETS, to, cipher=CIPHERS[cipher], legacy=True)
    assert nss("-D", "-i", nss.world.file(made)) == OCTETS


def test_ours_decrypts_nss(nss: Nss) -> None:
    """NSS chooses the cipher itself."""
    person = nss.world.person("rsa2048")
    unwrapped = unwrap_cms(nss("-E", "-r", person.address, "-i", nss.world.file(OCTETS)), person.ring)
    assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)
    layer = unwrapped.layers[0]
    assert isinstance(layer, EncryptedLayer)
    assert layer.opened is not None
    assert layer.opened.cipher == "AES-128-CBC"


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_cms_inside_cms(nss: Nss, kind: str) -> None:
    """A SignedData directly inside an EnvelopedData, without MIME between, is opened and checked in one go."""
    signed = sign(OCTETS, (signer(nss.world.person(kind), "sha256"),), NOW)
    _type, element = content.parse(signed)
    to = (To(nss.world.person("rsa2048").certificate),)
    sealed = encrypt(element.encoded, to, cipher=oids.AES256_CBC, content_type=oids.SIGNED_DATA)
    assert nss.statuses(sealed) == [b"GoodSignature"]
    unwrapped = unwrap_cms(sealed, nss.world.person("rsa2048").ring)
    assert unwrapped.content == OCTETS
    nss.world.check(unwrapped, nss.world.person(kind))


@pytest.mark.parametrize("order", ["sign encrypt", "encrypt sign", "sign encrypt sign", "sign sign"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_orders_of_wrapping(nss: Nss, order: str, ours_first: bool) -> None:
    """Layers made by turns by ours and NSS are opened whole by ours."""
    world = nss.world
    ada = bob = world.person("rsa2048")
    message, ours = ada.message, ours_first
    for step in order.split():
        outer, _, _ = message.partition(b"MIME-Version")
        entity = message[len(outer) :]
        if step == "sign" and ours:
            message = protect.sign_message(message, (signer(ada, "sha256"),), NOW, token="t")
        elif step == "sign":
            message = wrap(outer, nss("-S", "-N", "rsa2048", "-G", "-i", world.file(entity)), "signed-data")
        elif ours:
            message = protect.encrypt_message(message, (To(bob.certificate),))
        else:
            message = wrap(outer, nss("-E", "-r", bob.address, "-i", world.file(entity)), "enveloped-data")
        ours = not ours
    unwrapped = unwrap(message, bob.ring)
    assert len(unwrapped.layers) == len(order.split())
    assert parse(unwrapped.content).content() == OCTETS
    world.check(unwrapped, ada)


def test_certificates_alone(nss: Nss) -> None:
    """Certs-only both ways."""
    made = nss("-O", "-r", "rsa2048,p256")
    signed = SignedData.parse(content.parse(made)[1])
    assert {nss.world.person(kind).certificate.octets for kind in ("rsa2048", "p256")} <= set(signed.certificates)
    assert signed.signers == ()
    ours = certs_only((nss.world.person("p256").certificate,))
    assert b"type=signedData; nsigners=0" in nss("-D", "-n", "-h", "9", "-i", nss.world.file(ours))


def test_encrypted_data(nss: Nss) -> None:
    """EncryptedData under the key of an envelope sent before: what opened that, opens this."""
    person = nss.world.person("rsa2048")
    envelope = nss("-E", "-r", person.address, "-i", nss.world.file(OCTETS))
    sealed = nss("-C", "-e", nss.world.file(envelope), "-i", nss.world.file(b"More.\r\n"))
    _opened, key = open_with_key(EnvelopedData.parse(*content.parse(envelope)), person.ring)
    unwrapped = unwrap_cms(sealed, KeyRing(content_keys=(key,)))
    assert (unwrapped.fault, unwrapped.content) == ("", b"More.\r\n")
    assert "none of the content keys" in unwrap_cms(sealed, person.ring).fault


def test_what_it_announces_is_what_it_gets(nss: Nss) -> None:
    """The capabilities in its signature choose the cipher of the answer, which it can read."""
    person = nss.world.person("rsa2048")
    layer = unwrap_cms(nss("-S", "-N", "rsa2048", "-G", "-P", "-i", nss.world.file(OCTETS))).layers[0]
    assert isinstance(layer, SignedLayer)
    element = layer.checks[0].signer.signed.first(oids.SMIME_CAPABILITIES)
    assert element is not None
    announced = Remembered(person.address, capabilities.parse(element), NOW)
    (group,) = choose([Recipient(person.address, person.certificate, announced)]).groups
    assert (group.rule, group.cipher in CIPHERS.values()) == (Rule.KNOWN_CAPABILITIES, True)
    answer = encrypt(OCTETS, (To(person.certificate),), cipher=group.cipher)
    assert nss("-D", "-i", nss.world.file(answer)) == OCTETS
