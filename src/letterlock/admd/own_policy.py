"""The domain's own MTA-STS policy: what it says, its id, and its page over HTTPS.

Others that cannot use DANE learn from it that our server has TLS and by which name its certificate is to be checked. Their
way: the TXT record at `_mta-sts.DOMAIN` says that there is a policy and by its id which; the policy is fetched from
`https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, whose certificate must carry that name.

Standards: RFC 8461 section 3.1 (the record), section 3.2 (the policy), section 3.3 (HTTPS).
"""

from __future__ import annotations

import hashlib

from letterlock.admd.settings import Settings, key_pairs
from letterlock.formats.mta_sts import Mode, Policy, write_policy
from letterlock.host.pages import Page, Pages
from letterlock.host.tls import KeyPair

_DAY = 86_400
PATH = "/.well-known/mta-sts.txt"


def policy_of(settings: Settings) -> bytes:
    """Return the policy as it is served, the same for all local domains."""
    wanted = settings.mta_sts
    return write_policy(Policy(Mode(wanted.mode), (settings.host_name,), wanted.max_age_days * _DAY))


def policy_id(settings: Settings) -> str:
    """Return the id for the TXT record, "" where no policy is served: it changes exactly when the policy does."""
    if not settings.mta_sts.listen:
        return ""
    return hashlib.sha256(policy_of(settings)).hexdigest()[:32]


def policy_pages(settings: Settings) -> Pages:
    """Return the page."""
    page = Page(policy_of(settings), "text/plain; charset=us-ascii")

    async def answer() -> Page:
        return page

    return Pages({PATH: answer})


def policy_key_pairs(settings: Settings) -> tuple[KeyPair, ...]:
    """Return the certificates it is served with: its own, or else those of all services."""
    wanted = settings.mta_sts
    if wanted.certificate is None or wanted.key is None:
        return key_pairs(settings)
    return (KeyPair(settings.path(wanted.certificate), settings.path(wanted.key)),)
