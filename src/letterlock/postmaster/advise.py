"""Is p=quarantine or p=reject safe now? The answer with its figures, and what to fix first.

Safe means: reports cover enough days of enough receivers, and of the mail that is ours so little fails that a stricter
policy would not hurt it. Forwarders count by what they broke, strangers not at all: they are whom the policy is for.

Standards: RFC 9989 section 5.1.5 to 5.1.7 (from monitoring to enforcement), RFC 7960 (indirect mail flows).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.postmaster.senders import Group, Sender, View

_ENOUGH_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a policy asks for: days covered, receivers that report, and the largest share of our mail that may fail."""

    policy: str
    days: int
    reporters: int
    failing_share: float


THRESHOLDS = (Threshold("quarantine", 14, 2, 0.02), Threshold("reject", 28, 3, 0.005))


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether one policy is safe; `obstacles` are sentences with the figures, none where it is."""

    policy: str
    is_safe: bool
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """The figures, a judgement of each policy, and what to fix, the most mail first."""

    domain: str
    days: int
    reporters: int
    ours: int
    ours_failing: int
    forwarded: int
    forwarded_failing: int
    strangers: int
    judgements: tuple[Judgement, ...]
    fixes: tuple[str, ...]

    @property
    def recommended(self) -> str:
        """The strictest policy that is safe, or none."""
        return next((one.policy for one in reversed(self.judgements) if one.is_safe), "none")


def advise(view: View) -> Advice:
    """Judge a domain by who sends as it."""
    right = view.messages(Group.RIGHT)
    misconfigured = view.messages(Group.MISCONFIGURED)
    forwarders = [sender for sender in view.senders if sender.group is Group.FORWARDER]
    forwarded = sum(sender.messages for sender in forwarders)
    broken = sum(_failing(sender) for sender in forwarders)
    ours = right + misconfigured
    judgements = tuple(_judge(threshold, view, ours, misconfigured) for threshold in THRESHOLDS)
    return Advice(
        view.domain,
        view.days,
        view.reporters,
        ours,
        misconfigured,
        forwarded,
        broken,
        view.messages(Group.STRANGER),
        judgements,
        _fixes(view),
    )


def _failing(sender: Sender) -> int:
    return sender.messages - min(sender.messages, sender.dkim_aligned + sender.spf_aligned)


def _judge(threshold: Threshold, view: View, ours: int, failing: int) -> Judgement:
    obstacles = []
    if ours < _ENOUGH_MESSAGES:
        obstacles.append(f"reports tell of {ours} messages of ours; {_ENOUGH_MESSAGES} are needed to judge")
    if view.days < threshold.days:
        obstacles.append(f"reports cover {view.days} days; {threshold.days} are needed")
    if view.reporters < threshold.reporters:
        obstacles.append(f"{view.reporters} receivers report; {threshold.reporters} are needed")
    if ours and failing / ours > threshold.failing_share:
        share = f"{100 * failing / ours:.2f} %"
        obstacles.append(
            f"{failing} of {ours} messages that are ours fail ({share}); at most {100 * threshold.failing_share:g} % may"
        )
    return Judgement(threshold.policy, not obstacles, tuple(obstacles))


def _fixes(view: View) -> tuple[str, ...]:
    fixes = []
    for sender in view.senders:
        where = f"{len(sender.addresses)} address{'es' if len(sender.addresses) > 1 else ''}"
        if sender.group is Group.MISCONFIGURED:
            fixes.append(f"{sender.name} ({sender.messages} messages, {where}): {sender.problem}")
        elif sender.group is Group.RIGHT and sender.messages > sender.dkim_aligned:
            unsigned = sender.messages - sender.dkim_aligned
            fixes.append(f"{sender.name}: {unsigned} of {sender.messages} messages carry no passing signature of ours")
    return tuple(fixes)
