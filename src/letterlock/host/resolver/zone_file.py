"""A resolver that answers from zone text: for tests, and for work offline (`--zone FILE`).

    table = ZoneTable.parse('''
        rosewood.test.        300 IN MX 10 mx.rosewood.test.
        mx.rosewood.test.     300 IN A  127.0.1.1
        $SECURE rosewood.test
        $TIMEOUT dead.test MX
    ''')
    await table.ask(Question("rosewood.test", "MX"))     table.answer(Question("rosewood.test", "MX"))

Zone text is that of RFC 1035 section 5 ($ORIGIN and $TTL too; not $INCLUDE), all names in one table without zone cuts;
aliases are followed, wildcards expanded. Lines of our own say how the DNS misbehaves:

    $TIMEOUT name [type]       no server answers
    $SERVFAIL name [type]      the servers answer that they cannot
    $BOGUS name                signatures at this name and below do not verify
    $SECURE name               answers at this name and below are validated (elsewhere they are insecure)
    $SLOW name seconds         the answer takes that long

Standards: RFC 1034 section 4.3.2, RFC 2308 (absence), RFC 4592 (wildcards).
Limits: 16 aliases in a chain.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types, zone_text
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import Cname, Rdata

_MAX_ALIASES = 16
_FAULTS = {"$TIMEOUT": (22, "no server answered in time"), "$SERVFAIL": (None, "the servers answered SERVFAIL")}


@dataclass(slots=True)
class ZoneTable:
    """Zone data by name and type, and the faults to play; `asked` lists every question in order."""

    records: dict[tuple[str, str], tuple[Rdata, ...]] = field(default_factory=dict)
    faults: dict[tuple[str, str], str] = field(default_factory=dict)
    security: dict[str, Security] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    default_security: Security = Security.INSECURE
    asked: list[Question] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, origin: str = "") -> ZoneTable:
        """Read zone text; relative names stand below `origin`. Raises Malformed."""
        table = cls()
        kept = []
        for line in text.splitlines():
            words = line.split(";")[0].split()
            if words and words[0].upper() in ("$TIMEOUT", "$SERVFAIL", "$BOGUS", "$SECURE", "$SLOW"):
                table._direct(words)
                kept.append("")
            else:
                # Indentation is free here: a line that only continues an owner name is not supported.
                kept.append(line.strip())
        table._read("\n".join(kept), origin)
        return table

    @classmethod
    def load(cls, path: Path, origin: str = "") -> ZoneTable:
        """Read a file of zone text; raises Malformed, OSError."""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("it is no text in UTF-8", offset=error.start, clause="RFC 1035 section 5") from None
        return cls.parse(text, origin)

    def _direct(self, words: list[str]) -> None:
        if len(words) < 2:
            raise Malformed(f"{words[0]} without a name", clause="RFC 1035 section 5.1")
        verb, name = words[0].upper(), words[1].rstrip(".").lower()
        match verb:
            case "$SECURE":
                self.security[name] = Security.SECURE
            case "$BOGUS":
                self.security[name] = Security.BOGUS
            case "$SLOW":
                try:
                    self.delays[name] = float(words[2])
                except (IndexError, ValueError):
                    raise Malformed(f"$SLOW {words[1]} needs seconds", clause="RFC 1035 section 5.1") from None
            case _:
                self.faults[name, words[2].upper() if len(words) > 2 else ""] = verb

    def _read(self, text: str, origin: str) -> None:
        gathered: dict[tuple[str, str], list[Rdata]] = defaultdict(list)
        for record in zone_text.read(text, origin, 300):
            mnemonic = types.mnemonic(record.type)
            gathered[names.to_text(record.owner), mnemonic].append(rdata_wire.read(mnemonic, record.rdata))
        self.records.update({key: tuple(values) for key, values in gathered.items()})

    async def ask(self, question: Question) -> Answer:
        """Return the answer, after the delay that its name has."""
        if delay := self.delays.get(question.name):
            await asyncio.sleep(delay)
        return self.answer(question)

    def answer(self, question: Question) -> Answer:
        """Return the answer at once; fit for `trust.ask.decide`."""
        self.asked.append(question)
        name = question.name
        state = self._security_of(name)
        for _ in range(_MAX_ALIASES):
            failed = self._fault(question, name)
            if failed is not None:
                return failed
            owner = self._owner(name)
            if found := self.records.get((owner, question.type)):
                return Answer(question, Outcome.FOUND, found, state, name, 300)
            alias = self.records.get((owner, "CNAME"))
            if not alias or not isinstance(alias[0], Cname):
                return self._absent(question, name, owner, state)
            name = alias[0].target
            if self._security_of(name) is not Security.SECURE:
                state = Security.INSECURE
        return Answer(question, Outcome.FAILED, reason="a chain of more than 16 aliases")

    def _fault(self, question: Question, name: str) -> Answer | None:
        verb = self.faults.get((name, question.type)) or self.faults.get((name, ""))
        if verb:
            code, problem = _FAULTS[verb]
            reason = f"{question.name} {question.type}: {problem}"
            return Answer(question, Outcome.FAILED, reason=reason, extended_error=code)
        if self._security_of(name) is Security.BOGUS:
            reason = f"{question.name} {question.type}: the signatures do not verify"
            return Answer(question, Outcome.FAILED, (), Security.BOGUS, reason=reason, extended_error=6)
        return None

    def _security_of(self, name: str) -> Security:
        while name not in self.security:
            if not name:
                return self.default_security
            name = name.partition(".")[2]
        return self.security[name]

    def _owner(self, name: str) -> str:
        """The name in the table that answers for `name`: itself, or the wildcard of its closest encloser."""
        if self._exists(name):
            return name
        above = name
        while above and not self._exists(above):
            above = above.partition(".")[2]
        return f"*.{above}" if above else "*"

    def _exists(self, name: str) -> bool:
        return any(owner == name or owner.endswith("." + name) for owner, _ in self.records)

    def _absent(self, question: Question, name: str, owner: str, state: Security) -> Answer:
        outcome = Outcome.NO_DATA if self._exists(owner) else Outcome.NO_NAME
        reason = f"{name} has no {question.type} record" if outcome is Outcome.NO_DATA else f"{name} does not exist"
        return Answer(question, outcome, (), state, name, 300, reason)

    def replaced(self, name: str, mnemonic: str, *values: Rdata) -> ZoneTable:
        """Return a table in which one record set is other than here; none at all removes it."""
        records = {key: kept for key, kept in self.records.items() if key != (name, mnemonic)}
        if values:
            records[name, mnemonic] = values
        return replace(self, records=records, asked=[])
