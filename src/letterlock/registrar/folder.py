"""The folder of a certification authority, as `letterlock ca init` makes it: its key, its certificate, its registry.

The key is encrypted (PKCS#8) under the authority's password; the registry (registry.db) may be open in a server and in
commands at once.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path

from letterlock.errors import Malformed, OurFault, SettingsFault
from letterlock.formats.address import Address
from letterlock.formats.domain import to_ascii
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.host.files import make_directory, write_new
from letterlock.registrar.authority import AuthoritySettings, CertificationAuthority
from letterlock.registrar.registry import Registry
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.issue import Authority
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_pairs import PrivateKey

KEY, CERTIFICATE, REGISTRY, SETTINGS = "ca.key", "ca.pem", "registry.db", "ca.txt"


def found(
    folder: Path,
    domains: tuple[str, ...],
    name: str,
    key: PrivateKey,
    password: bytes,
    *,
    when: datetime.datetime,
    days: int,
    entropy: Callable[[int], bytes],
    crl_uri: str = "",
    ocsp_uri: str = "",
) -> Certificate:
    """Found an authority for `domains` in a folder that holds none, and return its certificate.

    Raises OurFault, Malformed for what is no domain, OSError.
    """
    domains = tuple(to_ascii(each) for each in domains)
    sealed = key_pairs.dump(key, password)
    make_directory(folder, mode=0o700)
    if (folder / KEY).exists():
        raise OurFault(f"{folder} holds an authority already")
    made = issue.found(key, Name.make(O=domains[0], CN=name), when, days, issue.serial_number(entropy(16)))
    lines = (*(f"domain {each}" for each in domains), f"crl {crl_uri}", f"ocsp {ocsp_uri}")
    public = {
        CERTIFICATE: pem.encode("CERTIFICATE", made.certificate.octets),
        SETTINGS: ("\n".join(lines) + "\n").encode(),
    }
    for file, octets in public.items():
        (folder / file).unlink(missing_ok=True)  # the left-over of a founding that was cut off
        write_new(folder / file, octets, mode=0o644)
    Registry(folder / REGISTRY).close()
    write_new(folder / KEY, sealed)  # last: with it the authority is founded
    return made.certificate


def certificate_of(folder: Path) -> Certificate:
    """Return the authority's own certificate. Raises SettingsFault."""
    try:
        return Certificate.parse(pem.decode((folder / CERTIFICATE).read_bytes(), *pem.CERTIFICATE)[0])
    except (OSError, Malformed, IndexError):
        raise SettingsFault((f"{folder} holds no authority: `letterlock ca init` founds one",)) from None


def certificates_in_force(folder: Path, domain: str, when: datetime.datetime) -> tuple[tuple[Address, bytes], ...]:
    """Return addresses of a domain with their certificates in force (DER), for which the authority's key is not needed.

    None where the folder holds no authority. Raises Unavailable.
    """
    if not (folder / REGISTRY).exists():
        return ()
    registry = Registry(folder / REGISTRY)
    try:
        records = registry.certificates()
    finally:
        registry.close()
    found = []
    for each in records:
        if each.revoked is None and each.certificate.not_before <= when <= each.certificate.not_after:
            addresses = [Address.parse(text) for text in each.certificate.addresses]
            found += [(address, each.certificate.octets) for address in addresses if address.domain == domain]
    return tuple(found)


def open_folder(
    folder: Path, password: bytes | None, entropy: Callable[[int], bytes], *, challenge_suffices: bool = True
) -> CertificationAuthority:
    """Return the authority of a folder. Raises SettingsFault, NotAuthentic for a wrong password, Unavailable."""
    certificate = certificate_of(folder)
    try:
        key = key_pairs.load((folder / KEY).read_bytes(), password)
        lines = [line.partition(" ") for line in (folder / SETTINGS).read_text().splitlines()]
    except (OSError, Malformed) as error:
        raise SettingsFault((f"{folder} holds no authority that can be read: {error}",)) from None
    said = {word: rest for word, _space, rest in lines}
    domains = tuple(rest for word, _space, rest in lines if word == "domain")
    settings = dataclasses.replace(AuthoritySettings(domains), challenge_suffices=challenge_suffices)
    authority = Authority(key, certificate, said.get("crl", ""), said.get("ocsp", ""))
    return CertificationAuthority(authority, Registry(folder / REGISTRY), settings, entropy)
