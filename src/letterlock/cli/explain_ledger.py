"""What a server wrote down about a message when it came, for `letterlock explain --config`: its ledger, not the mail."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from letterlock.admd import settings as admd_settings
from letterlock.admd.incoming import LEDGER_NAME
from letterlock.cli.output import safe
from letterlock.formats.imf.header import Header
from letterlock.formats.imf.trace import received
from letterlock.host.ledger import Entry, Ledger

_KINDS = ("assessed", "smime")
_MOST_PARTS = 9  # queue entries of one transaction are called after it, with a number


def written_down(config: Path, header: Header) -> list[dict[str, Any]]:
    """Return the entries about a message, found by the Received fields of this very server.

    Raises SettingsFault, Unavailable.
    """
    settings = admd_settings.load(config)
    file = settings.path(settings.data) / LEDGER_NAME
    own = [
        each.identifier for each in received(header) if each.by_name.lower() == settings.host_name and each.identifier
    ]
    if not file.exists():
        return []
    with contextlib.closing(Ledger.open(file)) as ledger:
        return [
            {"kind": entry.kind, "at": _moment(entry), **entry.facts}
            for identifier in own
            for name in (identifier, *(f"{identifier}-{number}" for number in range(1, _MOST_PARTS + 1)))
            for entry in ledger.read(transaction=name)
            if entry.kind in _KINDS
        ]


def _moment(entry: Entry) -> str:
    return datetime.datetime.fromtimestamp(int(entry.at), datetime.UTC).isoformat()


def ledger_lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the entries in sentences."""
    if not entries:
        yield "The server wrote nothing down about this message."
    for entry in entries:
        smime = entry.get("smime") or {}
        if entry["kind"] == "assessed":
            yield safe(
                f"When it came, {entry['at']}, the server found DMARC {entry['dmarc']['result']}: {entry['disposition']}."
            )
            yield from (safe(f"  of its client: {finding}") for finding in entry.get("client_findings", ()))
        else:
            reason = f" ({entry['reason']})" if entry["reason"] else ""
            yield safe(f"For {entry['account']} it was {_DONE.get(entry['done'], entry['done'])}{reason}.")
        if smime.get("sentence"):
            yield safe(f"S/MIME {smime['result']}: {smime['sentence']}")


_DONE = {"as it came": "delivered as it came", "decrypted": "decrypted at the gateway", "refused": "not delivered"}
