"""Name constraints: whether the names in a certificate lie where an authority above says they must.

Standards: RFC 5280 section 4.2.1.10, RFC 9598 section 6 (SmtpUTF8Mailbox), RFC 8398.
Limits: 2^18 comparisons a certificate.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats import domain as domains
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extensions import NameConstraints
from letterlock.formats.x509.name import GeneralName, NameKind

MAX_COMPARISONS = 1 << 18
_UNDERSTOOD = (NameKind.EMAIL, NameKind.DNS, NameKind.DIRECTORY, NameKind.URI, NameKind.ADDRESS)


@dataclass(frozen=True, slots=True)
class Subtrees:
    """All constraints of a path so far: every group of permitted subtrees must admit a name, no excluded one may."""

    permitted: tuple[tuple[GeneralName, ...], ...] = ()
    excluded: tuple[GeneralName, ...] = ()

    def narrowed(self, constraints: NameConstraints) -> Subtrees:
        """Return these constraints with those of one more certificate (RFC 5280 section 6.1.4 g)."""
        permitted = self.permitted
        if constraints.permitted:
            permitted = (*permitted, constraints.permitted)
        return Subtrees(permitted, self.excluded + constraints.excluded)

    def check(self, certificate: Certificate) -> None:
        """Raise NotAuthentic if a name of `certificate` lies outside."""
        if not self.permitted and not self.excluded:
            return
        names = _names_of(certificate)
        size = len(self.excluded) + sum(map(len, self.permitted))
        if len(names) * size > MAX_COMPARISONS:
            raise NotAuthentic("too many names and name constraints to compare")
        for name in names:
            self._check_name(name)

    def _speaks_of(self, kind: NameKind) -> bool:
        """Tell whether there is a constraint on names of this kind."""
        return any(_kind_of(each) is kind for group in (self.excluded, *self.permitted) for each in group)

    def _check_name(self, name: GeneralName) -> None:
        kind = _kind_of(name)
        if kind is NameKind.EMAIL and self._speaks_of(kind) and not _is_mailbox(name.text):
            raise NotAuthentic(f"the name {name} is no address, and addresses are constrained")
        for subtree in self.excluded:
            if _kind_of(subtree) is kind and (kind not in _UNDERSTOOD or _within(name, subtree)):
                raise NotAuthentic(f"the name {name} lies in the excluded subtree {subtree}")
        for group in self.permitted:
            same = [subtree for subtree in group if _kind_of(subtree) is kind]
            if same and not (kind in _UNDERSTOOD and any(_within(name, subtree) for subtree in same)):
                raise NotAuthentic(f"the name {name} lies outside the permitted subtrees")


def _is_mailbox(text: str) -> bool:
    """Tell whether text is an address of which the domain is certain; what has two could lie inside and outside."""
    local, _, host = text.rpartition("@")
    is_quoted = len(local) > 1 and local.startswith('"') and local.endswith('"')
    try:
        return bool(local) and ("@" not in local or is_quoted) and bool(domains.to_ascii(host))
    except Malformed:
        return False


def _kind_of(name: GeneralName) -> NameKind:
    return NameKind.EMAIL if name.type_id == oids.SMTP_UTF8_MAILBOX else name.kind


def _names_of(certificate: Certificate) -> list[GeneralName]:
    names = list(certificate.extensions.subject_alt_names)
    if certificate.subject:
        names.append(GeneralName.directory(certificate.subject))
    if not any(_kind_of(name) is NameKind.EMAIL for name in names):
        # RFC 5280 section 4.2.1.10: addresses in the subject's name count where there is no alternative name
        names += [GeneralName(NameKind.EMAIL, text) for text in certificate.subject.values(oids.EMAIL_ADDRESS)]
    return names


def _within(name: GeneralName, subtree: GeneralName) -> bool:
    match subtree.kind:
        case NameKind.DIRECTORY:
            return name.name is not None and subtree.name is not None and name.name.is_within(subtree.name)
        case NameKind.DNS:
            return _host_within(name.text, subtree.text, below=True)
        case NameKind.URI:
            return _host_within(urllib.parse.urlsplit(name.text).hostname or "", subtree.text, below=False)
        case NameKind.ADDRESS:
            return _address_within(name.octets, subtree.octets)
        case _:
            return _mailbox_within(name.text, subtree.text)


def _host_within(host: str, subtree: str, *, below: bool) -> bool:
    host, subtree = host.lower(), subtree.lower()
    if subtree.startswith("."):
        return host.endswith(subtree)
    return host == subtree or (below and (not subtree or host.endswith("." + subtree)))


def _mailbox_within(mailbox: str, subtree: str) -> bool:
    local, _, host = mailbox.rpartition("@")
    try:
        host = domains.to_ascii(host)
    except Malformed:
        return False
    if "@" in subtree:
        wanted, _, wanted_host = subtree.rpartition("@")
        return local == wanted and host == wanted_host.lower()
    return _host_within(host, subtree, below=False)


def _address_within(address: bytes, subtree: bytes) -> bool:
    if len(subtree) != 2 * len(address):
        return False
    network, mask = subtree[: len(address)], subtree[len(address) :]
    return all((a ^ n) & m == 0 for a, n, m in zip(address, network, mask, strict=True))
