"""May reports about one domain be sent to an address of another? The other has to say so.

Standards: RFC 9990 (Verifying External Destinations), RFC 9991 (the same for failure reports).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.dns.question import Outcome, Question
from letterlock.trust.ask import Decision, ask
from letterlock.trust.dmarc import record
from letterlock.trust.dmarc.record import Record, ReportUri
from letterlock.trust.dmarc.tree_walk import walk_all


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to report: `uris` may be others than asked for. `is_known` is false where a look-up failed: ask again."""

    uris: tuple[ReportUri, ...]
    reason: str
    is_known: bool = True


def verify(policy_domain: str, uri: ReportUri, tag: str = "rua") -> Decision[Destination]:
    """Return the URIs that may be used in place of `uri` from the record of `policy_domain`; perhaps none."""
    if not uri.host:
        return Destination((), "the URI has no host")
    walks = yield from walk_all(tuple({policy_domain, uri.host}))
    failed = next((walk.failed for walk in walks.values() if walk.failed), "")
    if failed:
        return Destination((), failed, is_known=False)
    if walks[policy_domain].organizational_domain == walks[uri.host].organizational_domain:
        return Destination((uri,), "the destination is of the same organization")
    name = f"{policy_domain}._report._dmarc.{uri.host}"
    if len(name) > 253:
        return Destination((), "the name to ask would be too long")
    answer = yield from ask(Question(name, "TXT"))
    if answer.outcome is Outcome.FAILED:
        return Destination((), f"{name} could not be looked up: {answer.reason}", is_known=False)
    texts = record.select(answer.records)
    if not texts:
        return Destination((), f"{uri.host} does not say at {name} that it wants reports about {policy_domain}")
    return _authorized(uri, tuple(record.parse(text) for text in texts), tag)


def _authorized(uri: ReportUri, records: tuple[Record, ...], tag: str) -> Destination:
    others = tuple(other for found in records for other in (found.rua if tag == "rua" else found.ruf))
    if not others:
        return Destination((uri,), f"{uri.host} accepts these reports")
    if any(other.host != uri.host for other in others):
        return Destination((), f"{uri.host} redirects reports to another host, which is not allowed")
    return Destination(others, f"{uri.host} accepts these reports at another address")
