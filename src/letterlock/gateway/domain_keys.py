"""The domain's key store as its gateway uses it: whom it signs for, whom it decrypts for, whom it believes.

Private keys are opened when first needed and kept in memory; the store's password came with the start. What takes long is
given back as a function to be run in a thread. Everything else here is called on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from letterlock.errors import NotAuthentic, OurFault
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import Header
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.gateway.inquiry import Inquiry
from letterlock.mua.protect import Learned
from letterlock.registrar import usable
from letterlock.registrar.gateway_accounts import GatewayAccount, GatewayAccounts
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import public_keys
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.choose_cipher import Recipient
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.sign import Signer


def authors_of(header: Header) -> tuple[str, ...]:
    """Return the addresses in From and Sender."""
    fields = (*header.get_all("from"), *header.get_all("sender"))
    return tuple(box.address for each in fields for box in parse_addresses(each.text).mailboxes)


@dataclass(slots=True)
class DomainKeys:
    """The store, the accounts it serves, the addresses of an account, the settings' `anchors`, `crls` at hand now.

    `inquiry` asks about what is not.
    """

    store: KeyStore
    accounts: GatewayAccounts
    addresses_of: Callable[[str], tuple[str, ...]]
    anchors: tuple[Anchor, ...] = ()
    crls: Callable[[], tuple[RevocationList, ...]] = tuple
    inquiry: Inquiry = field(default_factory=Inquiry)
    _opened: dict[str, PrivateKey] = field(default_factory=dict, repr=False)

    def of(self, account: str) -> GatewayAccount:
        """Return what is done for an account. Raises Unavailable."""
        return self.accounts.of(account)

    def signer(self, address: str, when: datetime.datetime) -> Callable[[], Signer]:
        """Return what makes the signer for an address. Raises OurFault with what is missing; it, NotAuthentic."""
        certificate = usable.to_sign_with(self.store, address, when, self.crls())
        opened = self._key(certificate)
        to_encrypt = usable.to_keep_readable(self.store, address, when)
        return lambda: Signer(opened(), certificate, encryption=to_encrypt)

    def ring(self, addresses: tuple[str, ...]) -> Callable[[], KeyRing]:
        """Return what makes the ring of all keys for some addresses; one that will not open is left out."""
        pairs = [(self._key(each), each) for each in usable.to_decrypt_with(self.store, addresses)]

        def made() -> KeyRing:
            own = []
            for opened, certificate in pairs:
                try:
                    own.append(Own(opened(), certificate))
                except (NotAuthentic, OurFault):
                    continue
            return KeyRing(tuple(own))

        return made

    def ring_of_account(self, account: str) -> Callable[[], KeyRing]:
        """Return what makes the ring of an account."""
        return self.ring(self.addresses_of(account))

    def _key(self, certificate: Certificate) -> Callable[[], PrivateKey]:
        key_id = public_keys.key_id(certificate.public_key).hex()
        kept = self._opened.get(key_id)
        if kept is not None:
            return lambda: kept
        opener = self.store.opener(key_id)

        def opened() -> PrivateKey:
            return self._opened.setdefault(key_id, opener())

        return opened

    async def about(self, addresses: tuple[str, ...], when: datetime.datetime) -> Mapping[Certificate, Trust]:
        """Find out what there is to know of the certificates to encrypt to some addresses with."""
        wanted: list[Certificate] = []
        for address in addresses:
            await asyncio.sleep(0)  # other sessions have their turn between
            wanted += usable.candidates(self.store, address, when)
        return await self.inquiry.about(wanted, self._trust(tuple(wanted), when))

    def recipient(self, address: str, when: datetime.datetime, about: Mapping[Certificate, Trust]) -> Recipient:
        """Return how to encrypt to an address, by what was found `about` its certificates. Raises OurFault with the reason."""
        known = tuple(each.certificate for each in self.store.certificates(address))
        return usable.to_encrypt_to(self.store, address, self._trust(known, when), about).recipient

    def trust(self, header: Header, when: datetime.datetime) -> Trust:
        """Return what a message with this header is judged by."""
        known = [each.certificate for author in authors_of(header) for each in self.store.certificates(author)]
        return self._trust(tuple(known), when)

    def _trust(self, known: tuple[Certificate, ...], when: datetime.datetime) -> Trust:
        own = self.store.anchors()
        anchors = (*self.anchors, *(Anchor.of(each) for each in own))
        at_hand = tuple(dict.fromkeys((*known, *own, *self.store.without_address())))
        return Trust(when, anchors, at_hand, self.crls())

    def learn(self, found: Learned, when: datetime.datetime) -> None:
        """Keep what a good signature teaches of its author. Raises Unavailable."""
        self.store.learn(found.certificates, found.announced, found.used, when)
