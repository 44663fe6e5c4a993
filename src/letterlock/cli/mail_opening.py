"""How the commands of `letterlock mail` open a message: with which keys and labels, and whom they ask about its signers."""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.cli import smime_files, smime_mail
from letterlock.cli.mail_agent import Agent
from letterlock.cli.online import Online
from letterlock.cli.output import Exit, fail, safe
from letterlock.errors import LetterlockError
from letterlock.mua.protect import Opened, open_message
from letterlock.registrar import usable
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.unwrap import Unwrapped


@dataclass(frozen=True, slots=True)
class Opening:
    """How a message is opened: with the keys and labels of the agent, and whether anybody is asked about its signers."""

    agent: Agent
    online: Online
    require_revocation: bool = False

    def opened(self, octets: bytes) -> Opened | None:
        """Return what S/MIME proves and hides, where a key store or a label policy is at hand; else nothing."""
        settings = self.agent.settings
        if settings.keys is None and settings.labels is None:
            return None
        try:
            rules = None if settings.labels is None else smime_files.label_rules(settings.labels)
            reader = settings.user
            if settings.keys is None:
                return open_message(octets, KeyRing(), Trust(smime_files.now()), reader, rules)
            return smime_mail.opened(
                self.store(), octets, reader, rules, self._complete, require_revocation=self.require_revocation
            )
        except LetterlockError as fault:
            fail(safe(str(fault)), Exit.WRONG, as_json=self.agent.as_json)

    def store(self) -> KeyStore:
        """Open the key store. Raises OurFault where none is named."""
        return smime_mail.store_of(self.agent.settings)

    def opened_own(self, octets: bytes) -> Opened:
        """Open a message of one's own, as it is kept; nothing is learned from it. Raises LetterlockError."""
        store = self.store()
        return open_message(octets, smime_mail.ring_of(store), usable.trust_of(store, smime_files.now()))

    def _complete(self, unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Ask about the signers; what is told is kept beside the key store."""
        return self.online.complete(
            unwrapped, trust, self.agent.settings.resolver, smime_mail.kept_answers(self.agent.settings)
        )
