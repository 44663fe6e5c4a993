"""How a command ends other than well: NO and BAD, raised from wherever it is found out."""

from __future__ import annotations

from letterlock.errors import LetterlockError
from letterlock.store.interface import Refusal, Refused


class No(LetterlockError):
    """The command fails: tagged NO with a response code (without brackets) if there is one."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        self.text = text
        self.code = code
        super().__init__(text)


# RFC 9051 section 7.1 names a code for nearly every refusal of the store.
_CODES: dict[Refusal, bytes] = {
    Refusal.NONEXISTENT: b"NONEXISTENT",
    Refusal.ALREADYEXISTS: b"ALREADYEXISTS",
    Refusal.CANNOT: b"CANNOT",
    Refusal.LIMIT: b"LIMIT",
    Refusal.OVERQUOTA: b"OVERQUOTA",
    Refusal.EXPUNGEISSUED: b"EXPUNGEISSUED",
}


def no_for(refused: Refused) -> No:
    """Return the answer for what the store refused."""
    return No(str(refused), _CODES[refused.refusal])
