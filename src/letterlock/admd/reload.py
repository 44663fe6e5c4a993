"""Settings read again while the domain runs: checked first, then taken up as far as that goes without a restart.

A file with a mistake changes nothing: the settings in force stay, and the log names every mistake. What was changed and
needs a restart is named too. `LIVE` is the list of what does not.

See also: admd/serve.py (SIGHUP), docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from letterlock.admd.settings import Settings, load
from letterlock.errors import SettingsFault
from letterlock.host.logs import Log

# Sections and keys that are taken up; the rest is read at the start.
LIVE = (
    "assess.honour_reject",
    "assess.spf_fail",
    "assess.trusted_forwarders",
    "assess.trusted_sealers",
    "border.",
    "delivery.sub_address_separator",
    "filters.",
    "limits.connections",
    "limits.connections_per_network",
    "mta_sts.max_age_days",
    "mta_sts.mode",
    "transfer.",
)

# Makes what other settings need and returns what takes it up: the first may raise SettingsFault, the second does not fail.
Prepare = Callable[[Settings], Callable[[], None]]


class Reloader:
    """The settings in force, and who goes by them."""

    def __init__(self, settings: Settings, adopters: Sequence[Prepare], log: Log) -> None:
        self.settings = settings
        self._adopters = tuple(adopters)
        self._log = log

    def reload(self) -> bool:
        """Read the file again and take up what can be; tell whether it was right."""
        try:
            fresh = load(self.settings.file)
            changed = sorted(_changes(self.settings, fresh))
            if not changed:
                return True
            usable = _mixed(self.settings, fresh)
            prepared = [prepare(usable) for prepare in self._adopters]
        except SettingsFault as fault:
            self._log.error("settings not reloaded", problems=list(fault.problems))
            return False
        for take_up in prepared:
            take_up()
        self.settings = usable
        waiting = [key for key in changed if not _is_live(key)]
        self._log.event("settings reloaded", changed=[key for key in changed if _is_live(key)], needs_restart=waiting)
        return True


def _is_live(key: str) -> bool:
    return any(key == live or (live.endswith(".") and key.startswith(live)) for live in LIVE)


def _changes(before: Settings, after: Settings) -> Iterator[str]:
    """Yield the keys that differ, as `section.key`."""
    old, new = before.model_dump(), after.model_dump()
    for section in old.keys() | new.keys():
        was, now = old.get(section), new.get(section)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from (f"{section}.{key}" for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        elif was != now:
            yield section


def _mixed(before: Settings, after: Settings) -> Settings:
    """Return `before` with what is live taken from `after`."""
    sections: dict[str, Any] = {}  # whatever a section is
    for live in LIVE:
        section, _, key = live.partition(".")
        old = sections.get(section, getattr(before, section))
        new = getattr(after, section)
        sections[section] = old.model_copy(update={key: getattr(new, key)}) if key else new
    return before.model_copy(update=sections)
