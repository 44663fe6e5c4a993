"""S/MIME both ways with OpenSSL's `cms`: content types by algorithms by order."""

from __future__ import annotations

import itertools

import pytest
from click.testing import CliRunner
from tests.interop.smime_world import CIPHERS, DIGESTS, ENCRYPTION, NOW, OCTETS, SIGNING, Person, World, run, signer

from letterlock.cli.root import letterlock
from letterlock.formats.asn1 import oids
from letterlock.formats.x509 import pem
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime import protect, receipts, stream
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.encrypt import To, ToPassword, ToSharedKey, encrypt
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import SignedLayer, unwrap, unwrap_cms

pytestmark = pytest.mark.interop

_SIGN_CASES = [
    (kind, digest, form)
    for kind, digest, form in itertools.product(SIGNING, DIGESTS, ("clear", "opaque", "attached", "detached", "bare"))
    if kind != "dsa2048" or digest == "sha256"
]


@pytest.mark.parametrize(("kind", "digest", "form"), _SIGN_CASES)
def test_openssl_verifies_ours(world: World, kind: str, digest: str, form: str) -> None:
    """multipart/signed, application/pkcs7-mime, CMS with and without content, and without signed attributes."""
    person = world.person(kind)
    signers = (signer(person, digest, with_attributes=form != "bare", by_key_id=form == "detached"),)
    more: tuple[object, ...] = ()
    if form in ("clear", "opaque"):
        made = protect.sign_message(person.message, signers, NOW, opaque=form == "opaque", token="t")
        more = ("-crlfeol",)
        expected = b"Content-Type: text/plain\r\n\r\n" + OCTETS
    else:
        made = sign(OCTETS, signers, NOW, detached=form == "detached")
        expected = OCTETS
        more = ("-binary", "-inform", "DER", *(("-content", world.file(OCTETS)) if form == "detached" else ()))
    found = world.openssl("-verify", "-in", world.file(made), "-CAfile", world.anchor_file, *more)
    assert found.replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("digest", DIGESTS)
def test_openssl_verifies_our_pss(world: World, digest: str) -> None:
    """RSASSA-PSS (RFC 4056)."""
    person = world.person("rsa2048")
    made = sign(OCTETS, (signer(person, digest, pss=True),), NOW)
    assert world.openssl(
        "-verify", "-binary", "-inform", "DER", "-in", world.file(made), "-CAfile", world.anchor_file) == OCTETS  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "digest", "options"),
    [
        (kind, digest, options)
        for kind, digest, options in itertools.product(
            SIGNING, DIGESTS, ("", "-nodetach", "-nodetach -stream -indef", "-noattr -nodetach", "-keyid -nodetach")
        )
        if kind != "dsa2048" or digest == "sha256"
    ],
)
def test_ours_verifies_openssl(world: World, kind: str, digest: str, options: str) -> None:
    """Messages and streamed BER, with and without attributes, named both ways."""
    person = world.person(kind)
    made = world.openssl(
        "-sign", "-in", world.file(person.message), "-signer", person.certificate_file, "-inkey", person.key_file,
        "-md", digest, *options.split(),
    )  # fmt: skip
    world.check(unwrap(made), person)


def test_ours_verifies_openssl_pss(world: World) -> None:
    """RSASSA-PSS with openssl's parameters."""
    person = world.person("rsa2048")
    made = world.openssl(
        "-sign", "-in", world.file(person.message), "-signer", person.certificate_file, "-inkey", person.key_file,
        "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:-1", "-nodetach",
    )  # fmt: skip
    world.check(unwrap(made), person)


def test_ours_verifies_two_openssl_signers(world: World) -> None:
    """Several signers in one message, and one added later."""
    one, two, three = (world.person(kind) for kind in ("rsa2048", "p256", "p384"))
    made = world.openssl(
        "-sign", "-in", world.file(OCTETS), "-nodetach", "-binary", "-outform", "DER",
        "-signer", one.certificate_file, "-inkey", one.key_file, "-signer", two.certificate_file, "-inkey", two.key_file,
    )  # fmt: skip
    more = world.openssl(
        "-resign", "-in", world.file(made), "-inform", "DER", "-outform", "DER", "-nodetach", "-binary",
        "-signer", three.certificate_file, "-inkey", three.key_file,
    )  # fmt: skip
    layer = unwrap_cms(more).layers[0]
    assert isinstance(layer, SignedLayer)
    assert [check.fault for check in layer.checks] == ["", "", ""]


@pytest.mark.parametrize(
    ("kind", "cipher", "form"),
    [*itertools.product((*ENCRYPTION, "rsa-oaep"), CIPHERS, ("cms", "message")),
     *itertools.product(("rsa2048", "p256"), ("aes-128-cbc", "aes-256-gcm"), ("stream",))],
)  # fmt: skip
def test_openssl_decrypts_ours(world: World, kind: str, cipher: str, form: str) -> None:
    """RSA v1.5 and OAEP, ECDH on three curves; enveloped and authenticated, whole, as mail and in pieces."""
    person = world.person(kind.replace("rsa-oaep", "rsa2048"))
    to = (To(person.certificate, Oaep() if kind == "rsa-oaep" else None),)
    keys = ("-inkey", person.key_file, "-recip", person.certificate_file, "-binary")
    if form == "message":
        made = protect.encrypt_message(person.message, to, cipher=CIPHERS[cipher], legacy=True)
        assert world.openssl("-decrypt", "-in", world.file(made), *keys).endswith(OCTETS)
        return
    if form == "stream":
        made = b"".join(stream.encrypt([OCTETS[:100], OCTETS[100:]], to, cipher=CIPHERS[cipher]))
    else:
        made = encrypt(OCTETS, to, cipher=CIPHERS[cipher], legacy=True)
    assert world.openssl("-decrypt", "-inform", "DER", "-in", world.file(made), *keys) == OCTETS


@pytest.mark.parametrize(
    ("kind", "cipher", "options"),
    [*itertools.product((*ENCRYPTION, "rsa-oaep"), CIPHERS, ("",)),
     *itertools.product(("rsa2048", "p256"), ("aes-128-cbc", "aes-256-gcm"), ("-keyid", "-stream -indef")),
     *itertools.product(("p256", "p384"), ("aes-256-cbc",), ("-keyopt ecdh_kdf_md:sha256", "-keyopt ecdh_kdf_md:sha512"))],
)  # fmt: skip
def test_ours_decrypts_openssl(world: World, kind: str, cipher: str, options: str) -> None:
    """The same the other way round, streamed BER included."""
    person = world.person(kind.replace("rsa-oaep", "rsa2048"))
    oaep = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256") if kind == "rsa-oaep" else ()
    flags = [each for each in options.split() if each != "-keyopt" and not each.startswith("ecdh")]
    keyopt = options.split() if options.startswith("-keyopt") else ()
    made = world.openssl(
        "-encrypt", f"-{cipher}", "-in", world.file(person.message), *flags, "-recip", person.certificate_file,
        *oaep, *keyopt,
    )  # fmt: skip
    unwrapped = unwrap(made, person.ring)
    assert unwrapped.fault == ""
    assert unwrapped.content.replace(b"\r\n", b"\n").endswith(OCTETS.replace(b"\r\n", b"\n"))


def test_passwords_and_shared_keys_with_openssl(world: World) -> None:
    """PWRI and KEKRI both ways."""
    key = bytes(range(32))
    made = world.file(encrypt(OCTETS, (ToPassword(b"tulip"), ToSharedKey(b"\x01\x02", key)), cipher=oids.AES256_CBC))
    common = ("-decrypt", "-inform", "DER", "-binary", "-in", made)
    assert world.openssl(*common, "-pwri_password", "tulip") == OCTETS
    assert world.openssl(*common, "-secretkey", key.hex(), "-secretkeyid", "0102") == OCTETS
    theirs = world.openssl(
        "-encrypt", "-aes256", "-binary", "-outform", "DER", "-in", world.file(OCTETS), "-pwri_password", "tulip",
        "-secretkey", key.hex(), "-secretkeyid", "0102",
    )  # fmt: skip
    assert unwrap_cms(theirs, KeyRing(passwords=(b"tulip",))).content == OCTETS
    assert unwrap_cms(theirs, KeyRing(shared={b"\x01\x02": key})).content == OCTETS


@pytest.mark.parametrize("order", ["sign encrypt", "encrypt sign", "sign encrypt sign", "sign sign"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_orders_of_wrapping(world: World, order: str, ours_first: bool) -> None:
    """Layers made by turns by ours and openssl are opened whole by ours."""
    ada, bob = world.person("rsa2048"), world.person("p256")
    message, ours = ada.message, ours_first
    for step in order.split():
        if step == "sign" and ours:
            message = protect.sign_message(message, (signer(ada, "sha256"),), NOW, token="t")
        elif step == "sign":
            message = world.openssl("-sign", "-nodetach", "-in", world.file(message), "-signer", ada.certificate_file,
                                    "-inkey", ada.key_file)  # fmt: skip
        elif ours:
            message = protect.encrypt_message(message, (To(bob.certificate),))
        else:
            message = world.openssl("-encrypt", "-aes256", "-in", world.file(message), bob.certificate_file)
        ours = not ours
    unwrapped = unwrap(message, bob.ring)
    assert len(unwrapped.layers) >= len(order.split())
    world.check(unwrapped, ada)


def test_receipts_with_openssl(world: World) -> None:
    """Ours gives a receipt that openssl verifies, and openssl one that ours matches."""
    ada, bob = world.person("rsa2048"), world.person("p256")
    theirs = world.file(world.openssl(
        "-sign", "-nodetach", "-in", world.file(OCTETS), "-binary", "-outform", "DER", "-signer", ada.certificate_file,
        "-inkey", ada.key_file, "-receipt_request_all", "-receipt_request_to", ada.address,
    ))  # fmt: skip
    layer = unwrap_cms(theirs.read_bytes()).layers[0]
    assert isinstance(layer, SignedLayer)
    assert receipts.wanted(layer.checks[0], (bob.address,)).send
    receipt = world.file(receipts.make(layer.checks[0], oids.DATA, signer(bob, "sha256"), NOW))
    world.openssl(
        "-verify_receipt", receipt, "-rctform", "DER", "-inform", "DER", "-in", theirs, "-CAfile", world.anchor_file
    )
    asked = Signer(ada.key, ada.certificate, attributes=(receipts.request(b"interop-1", ada.address),))
    ours = sign(OCTETS, (asked,), NOW)
    answer = world.openssl(
        "-sign_receipt", "-in", world.file(ours), "-inform", "DER", "-outform", "DER", "-signer", bob.certificate_file,
        "-inkey", bob.key_file,
    )  # fmt: skip
    sent, got = unwrap_cms(ours).layers[0], unwrap_cms(answer).layers[0]
    assert isinstance(sent, SignedLayer)
    assert isinstance(got, SignedLayer)
    receipts.match(got.signed, got.checks[0], sent.checks[0].signer)


@pytest.fixture(scope="module")
def dh_person(world: World) -> Person:
    """Somebody with a Diffie-Hellman key that openssl made (RFC 5114 section 2.2), certified by our authority."""
    made = world.file(b"")
    run("openssl", "genpkey", "-algorithm", "DHX", "-pkeyopt", "dh_rfc5114:2", "-out", made)
    key = key_pairs.load(pem.decode(made.read_bytes(), b"PRIVATE KEY")[0])
    address = "dh@rosewood.test"
    certificate = issue.certify(
        world.authority, key.public, Name.make(CN="dh"), (address,), issue.usages_of(key.public), when=NOW, days=30,
        serial=issue.serial_number(b"a Diffie-Hellman"),
    )  # fmt: skip
    return Person(key, certificate, made, world.file(pem.encode("CERTIFICATE", certificate.octets)), address)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_diffie_hellman_both_ways(world: World, dh_person: Person, cipher: str) -> None:
    """Ephemeral-static Diffie-Hellman over numbers (RFC 2631), which S/MIME 3 asked for."""
    ours = world.file(encrypt(OCTETS, (To(dh_person.certificate),), cipher=CIPHERS[cipher], legacy=True))
    keys = ("-inkey", dh_person.key_file, "-recip", dh_person.certificate_file)
    assert world.openssl("-decrypt", "-inform", "DER", "-binary", "-in", ours, *keys) == OCTETS
    source = world.file(OCTETS)
    theirs = world.openssl(
        "-encrypt", f"-{cipher}", "-binary", "-outform", "DER", "-in", source, dh_person.certificate_file
    )
    unwrapped = unwrap_cms(theirs, dh_person.ring)
    assert (unwrapped.fault, unwrapped.content) == ("", OCTETS)


def test_openssl_refuses_what_ours_refuses(world: World) -> None:
    """A bit turned over at every octet of a signed letter: ours never takes what openssl does not, but for one list.

    The list of digests at the start is for readers who read once; no signature covers it, and RFC 5652 section 5.1 lets
    a reader pass it over.
    """
    person = world.person("p256")
    whole = sign(b"Hello.\r\n", (signer(person, "sha256"),), NOW)
    digests = whole.index(b"\x31", 20)
    unused = range(digests, digests + 2 + whole[digests + 1])
    only_ours = []
    for at in range(len(whole)):
        changed = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        proof = world.proof(unwrap_cms(changed), person)
        if not proof.good or at in unused:
            continue
        done = world.try_openssl(
            "-verify", "-binary", "-inform", "DER", "-in", world.file(changed), "-CAfile", world.anchor_file
        )
        if done.returncode:
            only_ours.append((at, done.stderr))
    assert only_ours == []


def test_the_commands_with_shared_keys_and_keys_of_contents(world: World) -> None:
    """`smime encrypt` and `decrypt` with secrets in files, OpenSSL with -secretkey and -EncryptedData_encrypt."""
    secret, key = world.file(b"0123456789abcdef0123456789abcdef\n"), "0123456789abcdef0123456789abcdef"
    named = ("--shared-key-file", str(secret), "--shared-key-id", "0a")
    letter, made = world.file(OCTETS), world.file(b"")
    ours = ("smime", "encrypt", str(letter), "--cms", "--cipher", "aes128-cbc", *named, "--out", str(made))
    assert CliRunner().invoke(letterlock, ours).exit_code == 0
    opened = world.openssl(
        "-decrypt", "-inform", "DER", "-binary", "-in", made, "-secretkey", key, "-secretkeyid", "0a"
    )
    assert opened == OCTETS
    theirs = world.openssl("-encrypt", "-aes128", "-binary", "-outform", "DER", "-in", letter, "-secretkey", key,
                           "-secretkeyid", "0a")  # fmt: skip
    alone = world.openssl("-EncryptedData_encrypt", "-aes128", "-binary", "-outform", "DER", "-in", letter, "-secretkey",
                          key)  # fmt: skip
    for octets, options in ((theirs, named), (alone, ("--content-key-file", str(secret)))):
        result = CliRunner().invoke(letterlock, ["smime", "decrypt", str(world.file(octets)), *options])
        assert result.exit_code == 0, result.output
        assert result.stdout_bytes == OCTETS
