"""S/MIME of the domain, wired: what its gateway does where the settings switch it on, and nothing loaded where they do not.

See also: gateway/ (signing, opening, labels, lists, enrolment), registrar/key_store.py.
"""

from __future__ import annotations

import contextlib
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from letterlock.admd.own_zone import look_again
from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, NotAuthentic, SettingsFault
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy, SystemEntropy
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
    from letterlock.gateway.programs import Program
    from letterlock.gateway.signature_record import SignatureRecord
    from letterlock.gateway.workshop import Workshop
    from letterlock.host.pages import Pages
    from letterlock.hostmaster.zone_host import ZoneHost
    from letterlock.msa.inbound import Protect
    from letterlock.mta.arrival import Gate
    from letterlock.mta.assess_smime import Judge
    from letterlock.registrar.authority import CertificationAuthority
    from letterlock.registrar.key_store import KeyStore
    from letterlock.trust.smime.labels import LabelRules

KEY_STORE_NAME = "smime.sqlite"
SIGNATURE_LOG_NAME = "signatures.sqlite"


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the roles are given; None for what is switched off."""

    judge: Judge | None = None
    protect: Protect | None = None
    gate: Gate | None = None
    programs: Programs | None = None
    pages: Pages | None = None


def smime_anchors(settings: Settings) -> tuple[Anchor, ...]:
    """Return the authorities of `assess.smime_anchors`, none where it is not set. Raises SettingsFault."""
    if settings.assess.smime_anchors is None:
        return ()
    file = settings.path(settings.assess.smime_anchors)
    try:
        found = [Certificate.parse(der) for der in pem.decode(file.read_bytes(), *pem.CERTIFICATE)]
    except (OSError, Malformed) as error:
        raise SettingsFault((f"assess.smime_anchors = {str(file)!r}: cannot be read: {error}",)) from None
    return tuple(map(Anchor.of, found))


def first_line(file: Path, setting: str) -> bytes:
    """Return the password in the first line of a file. Raises SettingsFault naming the setting."""
    try:
        password = file.read_bytes().splitlines()[:1]
    except OSError as error:
        raise SettingsFault((f"{setting} = {str(file)!r}: cannot be read: {error.strerror}",)) from None
    if not password or not password[0]:
        raise SettingsFault((f"{setting} = {str(file)!r}: its first line is empty; write a password there",))
    return password[0]


def open_key_store(settings: Settings, *, waits_for_disk: bool = True) -> KeyStore:
    """Open the domain's key store, which is made if need be. Raises SettingsFault, Unavailable."""
    from letterlock.registrar.key_store import KeyStore

    if settings.smime.password_file is None:
        raise SettingsFault(("smime.password_file is not set: the domain has no key store without it",))
    password = first_line(settings.path(settings.smime.password_file), "smime.password_file")
    file = settings.path(settings.data) / KEY_STORE_NAME
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    store = KeyStore(file, password, waits_for_disk=waits_for_disk)
    try:
        store.check_password()
    except NotAuthentic as fault:
        store.close()
        raise SettingsFault((f"smime.password_file: {fault} {str(file)!r}",)) from None
    return store


def open_own_authority(settings: Settings) -> CertificationAuthority:
    """Open the domain's certification authority. Raises SettingsFault, Unavailable."""
    from letterlock.registrar.folder import open_folder

    wanted = settings.registrar
    if wanted.password_file is None:
        raise SettingsFault(("registrar.password_file is not set: the domain's authority cannot be opened without it",))
    password = first_line(settings.path(wanted.password_file), "registrar.password_file")
    suffices = wanted.approval == "challenge"
    try:
        return open_folder(settings.path(wanted.folder), password, SystemEntropy().octets, challenge_suffices=suffices)
    except NotAuthentic as fault:
        raise SettingsFault((f"registrar.password_file: it does not open the authority's key: {fault}",)) from None


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


def label_rules(settings: Settings) -> LabelRules | None:
    """Return the policies of `smime.labels`, None where it is not set. Raises SettingsFault."""
    if settings.smime.labels is None:
        return None
    from letterlock.trust.smime.labels import rules_of

    file = settings.path(settings.smime.labels)
    try:
        return rules_of(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFault((f"smime.labels = {str(file)!r}: cannot be read: {error}",)) from None
    except SettingsFault as fault:
        raise SettingsFault(tuple(f"smime.labels = {str(file)!r}: {each}" for each in fault.problems)) from None


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
    from letterlock.gateway.programs import GatewayPrograms
    from letterlock.gateway.sign import SubmissionSigner
    from letterlock.gateway.treat import Treatment, TreatmentSettings
    from letterlock.gateway.workshop import Workshop

    rules = label_rules(base.settings)
    inquiry = open_inquiry(base.settings, base.resolver, base.clock, stack)
    keys = _domain_keys(base, anchors, inquiry, stack) if wanted.password_file is not None else None
    record = _signature_record(base.settings, stack)
    workshop = Workshop()
    log = Log("smime")
    treatment = Treatment(
        TreatmentSettings(base.settings.host_name, wanted.originals_mailbox, wanted.decrypt_unauthenticated),
        keys,
        rules,
        workshop,
        base.store,
        record,
        base.ledger,
        base.entropy,
        log,
    )
    programs = _lists(base, keys, workshop, rules)
    enrolment = _enrolment(base, keys, stack) if is_certifying else None
    if enrolment is not None and registrar.address:
        programs[fold(registrar.address)] = enrolment
    judges = keys is not None or record.is_on or bool(anchors)
    return Gateway(
        BorderJudge(keys, anchors, record, log, inquiry) if judges else None,
        SubmissionSigner(keys, workshop, record, base.clock, base.entropy, log),
        Admission(keys, rules, workshop, log) if keys is not None or rules is not None else None,
        GatewayPrograms(programs, treatment),
        enrolment.pages() if enrolment is not None else None,
    )


def _lists(
    base: Foundation, keys: DomainKeys | None, workshop: Workshop, rules: LabelRules | None
) -> dict[str, Program]:
    if keys is None or not base.settings.lists:
        return {}
    from letterlock.admd.mail_lists import list_programs

    made = list_programs(base.settings, keys, workshop, rules, base.store, base.resolver, base.clock, base.entropy)
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
