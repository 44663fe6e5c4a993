"""The domain's mail lists, made from its settings."""

from __future__ import annotations

from functools import partial

from letterlock.admd.sections import MailList
from letterlock.admd.settings import Settings
from letterlock.admd.signing import Signer
from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.formats.address import Address
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.label_book import LabelBook
from letterlock.gateway.lists import ListProgram, ListSettings, ListSurroundings
from letterlock.gateway.workshop import Workshop
from letterlock.host.clock import Clock
from letterlock.host.drive_decisions import drive
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.store.accounts import fold
from letterlock.store.interface import Store
from letterlock.trust.dmarc import Policy
from letterlock.trust.dmarc.tree_walk import walk_all


def list_programs(
    settings: Settings,
    keys: DomainKeys,
    workshop: Workshop,
    labels: LabelBook,
    store: Store,
    resolver: Resolver,
    clock: Clock,
    entropy: Entropy,
) -> dict[str, ListProgram]:
    """Return the programs of all lists by folded address. Raises SettingsFault."""
    around = ListSurroundings(
        keys,
        workshop,
        store,
        Signer(settings, clock),
        partial(demands_alignment, resolver),
        lambda domain: domain in settings.local_domains,
        entropy,
        Log("mla"),
        settings.transfer.expire_after_seconds,
        labels,
    )
    return {fold(one.address): ListProgram(_list_settings(settings, one), around) for one in settings.lists}


def _list_settings(settings: Settings, one: MailList) -> ListSettings:
    address = Address.parse(one.address)
    if address.domain not in settings.local_domains:
        raise SettingsFault((f"lists: {address} is in no domain that is served here; choose one in {settings.domain}",))
    owner = Address.parse(one.owner or f"postmaster@{address.domain}")
    members_of(settings, one)  # a file that cannot be read should be known at the start
    members = partial(_members_now, settings, one)
    return ListSettings(address, owner, members, one.posters, one.receipts, one.rewrite_author)


def members_of(settings: Settings, one: MailList) -> tuple[Address, ...]:
    """Return the members of a list, each once. Raises SettingsFault."""
    lines = list(one.members)
    if one.members_file is not None:
        file = settings.path(one.members_file)
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsFault((f"lists: members_file = {str(file)!r}: cannot be read: {error}",)) from None
    found: dict[Address, None] = {}
    for line in lines:
        text = line.partition("#")[0].strip()
        if text:
            try:
                found[Address.parse(text)] = None
            except Malformed as error:
                raise SettingsFault((f"lists: {text!r} of {one.address} is no address: {error.problem}",)) from None
    return tuple(found)


def _members_now(settings: Settings, one: MailList) -> tuple[Address, ...]:
    """Return the members as the file has them now; mail waits while it cannot be read."""
    try:
        return members_of(settings, one)
    except SettingsFault as fault:
        raise Unavailable(str(fault)) from None


async def demands_alignment(resolver: Resolver, domain: str) -> bool:
    """Tell whether others may refuse mail of a domain that passed through strange hands; where nobody can tell, too."""
    walk = (await drive(walk_all((domain,)), resolver))[domain]
    policies = [policy for _, found in walk.found for policy in (found.p, found.sp, found.np)]
    return bool(walk.failed) or any(policy not in (None, Policy.NONE) for policy in policies)
