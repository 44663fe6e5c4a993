"""What a sender wishes besides delivery, gathered from MAIL and from the header: by when, to which owner, of which class.

MAIL and RCPT outdo the header. The fields are looked for in one pass over the header section, and read only where one is
there; a field that is not understood is no wish.

Standards: RFC 2852 section 4 (BY), RFC 3865 section 2.5 to 2.7 (Solicitation), RFC 7293 section 5.2
(Require-Recipient-Valid-Since; the field is left in the message, which may be signed), section 11 (rrvs=).
Limits: 256 KiB of header are looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.authentication_results import MethodResult, Property
from letterlock.formats.envelope import DeliverBy, Envelope, Recipient, ValidSince
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.header import Field, read_header
from letterlock.formats.outcome import Outcome, Result
from letterlock.mta.arrival import Recipients, becomes
from letterlock.protocols.smtp.command import MOST_SOLICITATION, SOLICITATION, By
from letterlock.protocols.smtp.reply import Reply, reply

_MOST_HEADER = 256 << 10
_FIELDS = (b"solicitation:", b"require-recipient-")


def deadline(by: By | None, now: float) -> DeliverBy | None:
    """Return the instant that BY means where MAIL came at `now`."""
    return DeliverBy(now + by.seconds, by.late, by.trace) if by is not None else None


def with_wishes(envelope: Envelope, by: DeliverBy | None, content: tuple[bytes, ...]) -> Envelope:
    """Return the envelope with its hour, and with what the header of `content` wishes and MAIL and RCPT left out."""
    if by is not None:
        envelope = replace(envelope, deliver_by=by)
    header = _header(content)
    lower = header.lower()  # with plain searches a tenth of what a pattern that ignores case takes
    if b"\nsolicitation:" not in lower and b"\nrequire-recipient-" not in lower and not lower.startswith(_FIELDS):
        return envelope
    fields = read_header(header)
    if not envelope.solicitation:
        envelope = replace(envelope, solicitation=_classes(fields.text("solicitation")))
    demands = dict(_demands(fields.get_all("require-recipient-valid-since")))
    recipients = tuple(_demanding(one, demands) for one in envelope.recipients)
    return replace(envelope, recipients=recipients)


def unwanted(classes: tuple[str, ...], refused: frozenset[str]) -> Reply | None:
    """Return the refusal of a message of these classes of solicitation, or None; `refused` is in lower case."""
    found = [one for one in classes if one.lower() in refused]
    if not found:
        return None
    # RFC 3865 section 2.4: with the classes that matched.
    return reply(550, "5.7.1", f"Such mail is not taken here: SOLICIT={','.join(found)}")


async def refusal(before: Envelope, after: Envelope, refused: frozenset[str], recipients: Recipients) -> Reply | None:
    """Return the refusal that what only the header wished leads to, or None; `before` is without it, `after` with it."""
    if after.solicitation is not before.solicitation and (answer := unwanted(after.solicitation, refused)) is not None:
        return answer
    for then, now in zip(before.recipients, after.recipients, strict=True):
        if now.valid_since is then.valid_since or not recipients.is_ours(now.forward_path.domain):
            continue
        outcome = await becomes(recipients, after.reverse_path, now)
        if isinstance(outcome, Outcome) and outcome.result is Result.FAILED:
            return reply(550, outcome.status, outcome.reply)
    return None


def ownership(envelope: Envelope, recipients: Recipients) -> tuple[MethodResult, ...]:
    """Return what a message that is taken reports of its recipient's mailbox (RFC 7293 section 11).

    A demand that fails is refused, so what is taken passed. Of several recipients nothing is said: all of them see the field.
    """
    if len(envelope.recipients) != 1:
        return ()
    (one,) = envelope.recipients
    if one.valid_since is None or not recipients.is_ours(one.forward_path.domain):
        return ()
    return (MethodResult("rrvs", "pass", (Property("smtp", "rcptto", str(one.forward_path)),)),)


def _header(content: tuple[bytes, ...]) -> bytes:
    first = content[0] if content else b""
    if (end := first.find(b"\r\n\r\n", 0, _MOST_HEADER)) >= 0:
        return first[:end]
    gathered = b""
    for piece in content:
        gathered = gathered + piece if gathered else piece
        end = gathered.find(b"\r\n\r\n", 0, _MOST_HEADER)
        if end >= 0:
            return gathered[: end + 2]
        if len(gathered) >= _MOST_HEADER:
            break
    return gathered[:_MOST_HEADER]


def _classes(text: str) -> tuple[str, ...]:
    written = "".join(text.split())
    return tuple(written.split(",")) if len(written) <= MOST_SOLICITATION and SOLICITATION.fullmatch(written) else ()


def _demands(fields: list[Field]) -> Iterator[tuple[Address, ValidSince]]:
    for field in fields:
        address, _, instant = field.text.rpartition(";")
        moment = parse_date(instant)
        try:
            named = Address.parse(address.strip())
        except Malformed:
            continue
        if moment is not None:
            # Whoever writes the field takes it as it comes: it never asked for hosts that look.
            yield named, ValidSince(max(int(moment.timestamp()), 0), is_optional=True)


def _demanding(recipient: Recipient, demands: dict[Address, ValidSince]) -> Recipient:
    demand = demands.get(recipient.forward_path) if recipient.valid_since is None else None
    return replace(recipient, valid_since=demand) if demand is not None else recipient
