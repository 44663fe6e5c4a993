"""The verdict of DMARC: result, policy published, policy applied, disposition, and why.

Standards: RFC 9989 section 5.3, section 9.2 (result names), RFC 9990 (override reasons).
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from letterlock.trust.dmarc.record import Policy, Record


class Result(enum.Enum):
    """The result by its name in Authentication-Results."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class OverrideType(enum.Enum):
    """Why the disposition is not the policy asked for, by its name in aggregate reports."""

    LOCAL_POLICY = "local_policy"
    MAILING_LIST = "mailing_list"
    OTHER = "other"
    POLICY_TEST_MODE = "policy_test_mode"
    TRUSTED_FORWARDER = "trusted_forwarder"


@dataclass(frozen=True, slots=True)
class Override:
    """One reason for a disposition other than the policy."""

    type: OverrideType
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Identifier:
    """What SPF or DKIM says of a domain, by the result names of RFC 8601; `selector` belongs to DKIM."""

    domain: str
    result: str
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one author domain.

    `policy` is what the owner publishes for this name and `policy_tag` the tag that says so (p, sp, np);
    `applied_policy` is it after t=; `disposition` what is to be done after the result and local policy. They are None
    where there is no record. `organizational_domain` is that of the author.
    """

    result: Result
    author_domain: str
    reason: str
    policy: Policy | None = None
    policy_tag: str = ""
    applied_policy: Policy | None = None
    disposition: Policy = Policy.NONE
    record_domain: str = ""
    record: Record | None = None
    organizational_domain: str = ""
    spf_aligned: bool = False
    dkim_aligned: bool = False
    overrides: tuple[Override, ...] = ()
    problems: tuple[str, ...] = ()

    def overridden(self, *overrides: Override) -> Verdict:
        """Return the verdict after local policy decided to deliver in spite of it."""
        if self.result is not Result.FAIL or self.disposition is Policy.NONE or not overrides:
            return self
        return dataclasses.replace(self, disposition=Policy.NONE, overrides=(*self.overrides, *overrides))
