"""The people of the lab with keys and certificates in their domains' key stores."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

from gateway.two_domains import Lab, command, founded_authority
from letterlock.admd.settings import Settings
from letterlock.admd.smime_files import open_key_store
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.registrar import usable
from letterlock.registrar.folder import certificate_of
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime import protect
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.sign import Signer

ADA, BRUNO = "ada@rosewood.test", "bruno@rosewood.test"
CHIYO, DAFYDD = "chiyo@harbor.test", "dafydd@harbor.test"


def enrolled(
    people: Mapping[str, tuple[str, ...]], more: Mapping[str, Mapping[str, str]] | None = None, *, told: bool = True
) -> Callable[[Lab, Settings], None]:
    """Return what gives each domain an authority that both trust, its people keys, and all stores their certificates.

    `more` are further files by domain and name. Unless `told`, nobody knows the others' certificates.
    """

    def prepare(lab: Lab, settings: Settings) -> None:
        founded_authority(settings)
        for name, text in (more or {}).get(settings.domain, {}).items():
            (settings.folder / name).write_text(text)
        if len(lab.settings) < 2:
            return
        both = b"".join((lab.folder(domain) / "ca" / "ca.pem").read_bytes() for domain in lab.settings)
        for domain in lab.settings:
            (lab.folder(domain) / "anchors.pem").write_bytes(both)
        found = []
        for domain, addresses in people.items():
            for address in addresses:
                command("account", "smime", address, "--enrol", "--config", str(lab.folder(domain)))
                found += [certificate_for(lab, address, encryption=wish) for wish in (True, False)]
        for one in lab.settings.values():
            if one.smime.password_file is None or not told:
                continue
            store = open_key_store(one)
            for certificate in found:
                store.add_certificate(certificate, "told", datetime.datetime.now(datetime.UTC))
            store.close()

    return prepare


def certificate_for(lab: Lab, address: str, *, encryption: bool) -> Certificate:
    """The certificate of somebody's key for one of the two uses."""
    store = open_key_store(lab.settings[address.rpartition("@")[2]])
    found = [each.certificate for each in store.certificates(address) if each.own]
    store.close()
    use = KeyUsage.KEY_AGREEMENT if encryption else KeyUsage.DIGITAL_SIGNATURE
    return next(each for each in found if use in (each.extensions.key_usage or ()))


def signer_of(lab: Lab, address: str) -> Signer:
    """The signer of somebody, out of the key store."""
    store = open_key_store(lab.settings[address.rpartition("@")[2]])
    certificate = usable.to_sign_with(store, address, datetime.datetime.now(datetime.UTC))
    signer = Signer(store.key(public_keys.key_id(certificate.public_key).hex()), certificate)
    store.close()
    return signer


def ring_of(lab: Lab, address: str) -> KeyRing:
    """All somebody can decrypt with."""
    store = open_key_store(lab.settings[address.rpartition("@")[2]])
    certificate = certificate_for(lab, address, encryption=True)
    own = Own(store.key(public_keys.key_id(certificate.public_key).hex()), certificate)
    store.close()
    return KeyRing((own,))


def sealed_for(lab: Lab, octets: bytes, *addresses: str, cipher: str = oids.AES256_GCM) -> bytes:
    """A message encrypted to people of the lab."""
    to = tuple(To(certificate_for(lab, address, encryption=True)) for address in addresses)
    return protect.encrypt_message(octets, to, cipher=cipher, protect_header=True)


def trust_in(lab: Lab, domain: str) -> Trust:
    """What somebody sees who trusts the authority of a domain."""
    anchor = Anchor.of(certificate_of(lab.folder(domain) / "ca"))
    return Trust(datetime.datetime.now(datetime.UTC), (anchor,))
