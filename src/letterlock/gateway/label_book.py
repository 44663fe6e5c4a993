"""The label policies in force: read from their file at the start, and again when the server is told to (SIGHUP).

A file with a mistake changes nothing: the policies in force stay, and the log names every mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from letterlock.errors import SettingsFault
from letterlock.host.logs import Log
from letterlock.trust.smime.labels import LabelPolicy, LabelRules


@dataclass(slots=True)
class LabelBook:
    """What everybody at the gateway goes by; `rules` None knows no labels, and `read` reads the file."""

    rules: LabelRules | None = None
    read: Callable[[], LabelRules | None] = lambda: None

    @property
    def policies(self) -> Mapping[str, LabelPolicy]:
        """The policies by object identifier."""
        return self.rules.policies if self.rules is not None else {}

    def reload(self, log: Log) -> None:
        """Read the file again."""
        if self.rules is None:
            return
        try:
            fresh = self.read()
        except SettingsFault as fault:
            log.error("label policies not reloaded", problems=list(fault.problems))
            return
        if fresh != self.rules:
            self.rules = fresh
            log.event("label policies reloaded", policies=sorted(each.name for each in self.policies.values()))
