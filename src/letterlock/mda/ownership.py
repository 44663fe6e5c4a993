"""Whether a mailbox has had one owner since an instant a sender names.

An address that nobody before its present owner ever had passes whatever the instant, so that nothing is learnt of an account's
age. One that was somebody else's fails for instants at which it still was. Addresses of an office, not a person, always pass.

Standards: RFC 7293 section 5.1, section 9 (continuous ownership), section 13.2; section 15.3 (status 5.7.17).
"""

from __future__ import annotations

from letterlock.formats.envelope import Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.mda.resolve import Resolver

# The role accounts of RFC 2142.
_OFFICES = frozenset(
    {"abuse", "ftp", "hostmaster", "info", "marketing", "news", "noc", "postmaster"}
    | {"sales", "security", "support", "usenet", "uucp", "webmaster", "www"}
)


def changed_owner(recipient: Recipient, resolver: Resolver) -> Outcome | None:
    """Return the failure that RRVS asks for where somebody else had the address at its instant, or None."""
    demand, address = recipient.valid_since, recipient.forward_path
    if demand is None or address.local_part.lower() in _OFFICES:
        return None
    changed = resolver.owner_changed(address)
    if changed is None or demand.instant >= changed:
        return None
    return Outcome(address, Result.FAILED, "5.7.17", f"{address} has another owner now")
