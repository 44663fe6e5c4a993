"""`letterlock.toml`: every setting there is, with its default, and the one required: the domain.

`load` reads the file and reports every problem it finds at once, each with file, key, value and the fix. Paths in the
file are relative to the file's folder.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from letterlock.admd.sections import (
    Assess,
    Border,
    ClientCertificates,
    Delivery,
    Dkim,
    Dns,
    Filters,
    Greylist,
    Limits,
    Listen,
    Log,
    MailList,
    Metrics,
    MoreTls,
    MtaSts,
    OAuth,
    Publish,
    Registrar,
    Reports,
    Section,
    Smime,
    Tls,
    Transfer,
)
from letterlock.admd.values import DomainName
from letterlock.errors import SettingsFault
from letterlock.host.tls import KeyPair

FILE_NAME = "letterlock.toml"


class Settings(Section):
    """The whole file."""

    domain: DomainName = Field(description="The domain whose mail this is. The one setting that is required.")
    more_domains: list[DomainName] = Field([], description="Further domains with the same accounts.")
    host_name: DomainName = Field(
        "", validate_default=False, description="This server's name; mail.DOMAIN if left out."
    )
    data: Path = Field(Path("data"), description="The folder of the message store.")
    run_as: str = Field(
        "", description="The user to become, for good, when the ports are bound, if started as root; empty: stay."
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes of their own that take mail from other domains (port 25), each with the clients of some"
        " networks; 0: the one process does all. For machines with more than one core and much mail.",
    )
    listen: Listen = Listen()
    tls: Tls = Tls()
    dns: Dns = Dns()
    publish: Publish = Publish()
    limits: Limits = Limits()
    transfer: Transfer = Transfer()
    delivery: Delivery = Delivery()
    oauth: OAuth = OAuth()
    client_certificates: ClientCertificates = ClientCertificates()
    dkim: Dkim = Dkim()
    assess: Assess = Assess()
    border: Border = Border()
    greylist: Greylist = Greylist()
    filters: Filters = Filters()
    reports: Reports = Reports()
    mta_sts: MtaSts = MtaSts()
    smime: Smime = Smime()
    lists: list[MailList] = Field([], description="The domain's mail lists, as tables.")
    registrar: Registrar = Registrar()
    log: Log = Log()
    metrics: Metrics = Metrics()
    folder: Annotated[Path, Field(exclude=True)] = Path()
    _file: Path = pydantic.PrivateAttr(default=Path(FILE_NAME))

    @property
    def file(self) -> Path:
        """The file it was read from."""
        return self._file

    def model_post_init(self, _context: object) -> None:
        """Fill in what follows from other settings."""
        if not self.host_name:
            object.__setattr__(self, "host_name", f"mail.{self.domain}")

    @property
    def local_domains(self) -> tuple[str, ...]:
        """All domains whose mail is delivered here."""
        return (self.domain, *self.more_domains)

    def path(self, path: Path) -> Path:
        """Return a path of the file as one that can be opened."""
        return self.folder / path


def key_pairs(settings: Settings) -> tuple[KeyPair, ...]:
    """Return the certificates and keys of all services, the first preferred."""
    first = MoreTls(certificate=settings.tls.certificate, key=settings.tls.key)
    pairs = (first, *settings.tls.more)
    return tuple(KeyPair(settings.path(pair.certificate), settings.path(pair.key)) for pair in pairs)


def load(file: Path) -> Settings:
    """Read `file` (or the letterlock.toml in a folder). Raises SettingsFault with every problem found."""
    if file.is_dir():
        file = file / FILE_NAME
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsFault((f"{file}: there is no such file; `letterlock init DOMAIN` writes one",)) from None
    except OSError as error:
        raise SettingsFault((f"{file}: cannot be read: {error.strerror}",)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsFault((f"{file}: not TOML: {error}",)) from None
    return parse(table, file)


def parse(table: dict[str, Any], file: Path) -> Settings:
    """Check a table as tomllib gives it. Raises SettingsFault; `file` is named in the problems."""
    table.pop("folder", None)
    try:
        settings = Settings.model_validate(table | {"folder": file.parent})
    except pydantic.ValidationError as error:
        raise SettingsFault(tuple(_problem(file, dict(one)) for one in error.errors())) from None
    settings._file = file
    if settings.workers:
        _demand_no_conflict(settings)
    return settings


def _demand_no_conflict(settings: Settings) -> None:
    """Raise SettingsFault where workers would have to do what only the main process does."""
    alone = {
        "smime.password_file": settings.smime.password_file,
        "smime.labels": settings.smime.labels,
        "smime.signature_log": settings.smime.signature_log,
        "registrar.password_file": settings.registrar.password_file,
        "reports.send_failures": settings.reports.send_failures,
    }
    problems = [
        f"{settings.file}: workers = {settings.workers}: where {name} is set the main process takes mail; set workers = 0"
        for name, value in alone.items()
        if value
    ]
    if problems:
        raise SettingsFault(tuple(problems))


def _problem(file: Path, error: dict[str, Any]) -> str:
    location: tuple[str | int, ...] = error["loc"]
    key = ".".join(str(part) for part in location)
    match error["type"]:
        case "extra_forbidden":
            meant = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), 1)
            hint = f"did you mean {meant[0]}?" if meant else "remove it"
            return f"{file}: {key}: there is no such setting; {hint}"
        case "missing":
            example = 'write domain = "example.org"' if key == "domain" else "see docs/settings.md"
            return f"{file}: {key}: is missing; {example}"
        case "value_error":
            return f"{file}: {key} = {error['input']!r}: {error['ctx']['error']}"
        case kind:
            return f"{file}: {key} = {error['input']!r}: {_fix(kind, error)}; see docs/settings.md"


# What to write, by pydantic's types of errors; {} is what its context names as the bound.
_FIXES = {
    "int": "write a whole number",
    "float": "write a number",
    "bool": "write true or false",
    "string": "write text in quotes",
    "path": "write a path in quotes",
    "list": 'write a list in brackets, such as ["one", "two"]',
    "dict": "write a table",
    "model": "write a table",
    "greater_than": "write more than {}",
    "greater_than_equal": "write {} or more",
    "less_than": "write less than {}",
    "less_than_equal": "write {} or less",
    "literal_error": "write {}",
    "enum": "write {}",
}


def _fix(kind: str, error: dict[str, Any]) -> str:
    sentence = _FIXES.get(kind) or _FIXES.get(kind.partition("_")[0])
    if sentence is None:
        return f"{error['msg'][0].lower()}{error['msg'][1:]}"
    return sentence.format(*(error.get("ctx") or {}).values())


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    model: type[pydantic.BaseModel] = Settings
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)):
            return []
        model = annotation
    return [name for name in model.model_fields if name != "folder"]
