"""S/MIME of the domain, wired: what its gateway does where the settings switch it on, and nothing loaded where they do not.

See also: gateway/ (signing, opening, labels, lists, enrolment), registrar/key_store.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from letterlock.admd.own_zone import look_again
from letterlock.admd.settings import Settings
from letterlock.admd.smime_files import KEY_STORE_NAME, label_rules, open_key_store, smime_anchors
from letterlock.errors import SettingsFault
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.queue.local import Programs
from letterlock.store.accounts import Accounts, fold
from letterlock.store.interface import Store
from letterlock.trust.pkix.path import Anchor

if TYPE_CHECKING:
    from letterlock.gateway.domain_keys import DomainKeys
    from letterlock.gateway.enrolment import Enrolment
    from letterlock.gateway.inquiry import Inquiry
    from letterlock.gateway.label_book import LabelBook
    from letterlock.gateway.programs import Program
    from letterlock.gateway.signature_record import SignatureRecord
    from letterlock.gateway.workshop import Workshop
    from letterlock.host.pages import Pages
    from letterlock.hostmaster.zone_host import ZoneHost
    from letterlock.msa.inbound import Protect
    from letterlock.mta.arrival import Gate
    from letterlock.mta.assess_smime import Judge

SIGNATURE_LOG_NAME = "signatures.sqlite"


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the roles are given; None for what is switched off. `reload_labels` reads the label policies again."""

    judge: Judge | None = None
    protect: Protect | None = None
    gate: Gate | None = None
    programs: Programs | None = None
    pages: Pages | None = None
    reload_labels: Callable[[], None] = lambda: None


def forget_account(settings: Settings, name: str) -> None:
    """Do nothing more for an account that is removed: another may get its name. Its keys stay. Raises Unavailable."""
    file = settings.path(settings.data) / KEY_STORE_NAME
    if file.exists():
        from letterlock.registrar.gateway_accounts import GatewayAccounts

        with contextlib.closing(GatewayAccounts(file)) as accounts:
            accounts.forget(name)


def _check_nobody_is_forsaken(settings: Settings) -> None:
    """Raise SettingsFault where accounts demand signatures and nothing would be signed."""
    file = settings.path(settings.data) / KEY_STORE_NAME
    if settings.smime.password_file is not None or not file.exists():
        return
    from letterlock.registrar.gateway_accounts import GatewayAccounts, Signing

    with contextlib.closing(GatewayAccounts(file)) as accounts:
        demanding = [one.account for one in accounts.all() if one.signing is Signing.ALWAYS]
    if demanding:
        names = ", ".join(demanding[:5])
        raise SettingsFault((f"smime.password_file is not set, and all mail of {names} is to be signed; set it",))


@dataclass(frozen=True, slots=True)
class Foundation:
    """What the gateway stands on."""

    settings: Settings
    store: Store
    accounts: Accounts
    ledger: Ledger
    resolver: Resolver
    clock: Clock
    entropy: Entropy
    zones: ZoneHost | None = None


def service_addresses(settings: Settings) -> frozenset[str]:
    """Return the addresses behind which no mailbox stands but a program."""
    addresses = [one.address for one in settings.lists]
    if settings.registrar.address:
        addresses.append(settings.registrar.address)
    return frozenset(map(fold, addresses))


def open_gateway(base: Foundation, stack: contextlib.AsyncExitStack) -> Gateway:
    """Open what the settings switch on; `stack` closes it. Raises SettingsFault, Unavailable."""
    wanted, registrar = base.settings.smime, base.settings.registrar
    _check_nobody_is_forsaken(base.settings)
    if registrar.password_file is None and (registrar.address or registrar.listen):
        raise SettingsFault(("registrar: set registrar.password_file, too; nothing is certified without the key",))
    if base.settings.lists and wanted.password_file is None:
        raise SettingsFault(("lists: a list needs keys; set smime.password_file, and enrol it",))
    is_certifying = registrar.password_file is not None
    anchors = smime_anchors(base.settings)
    if not (is_certifying or wanted.password_file or wanted.labels or wanted.signature_log or anchors):
        return Gateway()
    from letterlock.admd.revocation import open_inquiry
    from letterlock.gateway.admit import Admission
    from letterlock.gateway.judge import BorderJudge
    from letterlock.gateway.label_book import LabelBook
    from letterlock.gateway.programs import GatewayPrograms
    from letterlock.gateway.sign import SubmissionSigner
    from letterlock.gateway.treat import Treatment, TreatmentSettings
    from letterlock.gateway.workshop import Workshop

    read_labels = partial(label_rules, base.settings)
    labels = LabelBook(read_labels(), read_labels)
    inquiry = open_inquiry(base.settings, base.resolver, base.clock, stack)
    keys = _domain_keys(base, anchors, inquiry, stack) if wanted.password_file is not None else None
    record = _signature_record(base.settings, stack)
    workshop = Workshop()
    log = Log("smime")
    is_ours = base.settings.local_domains.__contains__
    treatment = Treatment(
        TreatmentSettings(base.settings.host_name, wanted.originals_mailbox, wanted.decrypt_unauthenticated),
        keys,
        labels,
        workshop,
        base.store,
        record,
        base.ledger,
        base.entropy,
        log,
    )
    programs = _lists(base, keys, workshop, labels)
    enrolment = _enrolment(base, keys, stack) if is_certifying else None
    if enrolment is not None and registrar.address:
        programs[fold(registrar.address)] = enrolment
    judges = keys is not None or record.is_on or bool(anchors)
    return Gateway(
        BorderJudge(keys, anchors, record, log, inquiry) if judges else None,
        SubmissionSigner(
            keys, workshop, record, base.clock, base.entropy, log, fold(registrar.address) if registrar.address else ""
        ),
        Admission(keys, labels, workshop, is_ours, log) if keys is not None or labels.rules is not None else None,
        GatewayPrograms(programs, treatment),
        enrolment.pages() if enrolment is not None else None,
        partial(labels.reload, log),
    )


def _lists(base: Foundation, keys: DomainKeys | None, workshop: Workshop, labels: LabelBook) -> dict[str, Program]:
    if keys is None or not base.settings.lists:
        return {}
    from letterlock.admd.mail_lists import list_programs

    made = list_programs(base.settings, keys, workshop, labels, base.store, base.resolver, base.clock, base.entropy)
    return dict(made)


def _enrolment(base: Foundation, keys: DomainKeys | None, stack: contextlib.AsyncExitStack) -> Enrolment:
    from letterlock.admd.enrolment import open_enrolment

    made = open_enrolment(base.settings, keys, base.store, partial(look_again, base.zones), base.clock, stack)
    if keys is not None:
        keys.crls = made.lists  # what the domain's own authority revoked is not believed, nor used
    return made


def _domain_keys(
    base: Foundation, anchors: tuple[Anchor, ...], inquiry: Inquiry, stack: contextlib.AsyncExitStack
) -> DomainKeys:
    from letterlock.gateway.domain_keys import DomainKeys
    from letterlock.registrar.gateway_accounts import GatewayAccounts

    store = stack.enter_context(contextlib.closing(open_key_store(base.settings, waits_for_disk=False)))
    file = base.settings.path(base.settings.data) / KEY_STORE_NAME
    accounts = stack.enter_context(contextlib.closing(GatewayAccounts(file)))

    def addresses_of(name: str) -> tuple[str, ...]:
        account = base.accounts.account(name)
        return account.addresses if account is not None else ()

    return DomainKeys(store, accounts, addresses_of, anchors, inquiry=inquiry)


def _signature_record(settings: Settings, stack: contextlib.AsyncExitStack) -> SignatureRecord:
    from letterlock.gateway.signature_record import SignatureRecord

    log = Log("smime")
    if not settings.smime.signature_log:
        return SignatureRecord(None, log)
    from letterlock.registrar.signature_log import SignatureLog

    kept = SignatureLog.open(settings.path(settings.data) / SIGNATURE_LOG_NAME)
    stack.enter_context(contextlib.closing(kept))
    kept.switch(True)
    return SignatureRecord(kept, log)
