"""A user's profile: the section `[user-agent]` of a file, with options and the environment before it.

    [user-agent]
    user = "anna@rosewood.test"
    password = "..."                              # or password-file = "..."
    imap = "imaps://mail.rosewood.test"
    submission = "submissions://mail.rosewood.test"
    ca = "lab-ca.pem"                             # in place of the system's authorities
    server-name = "mail.rosewood.test"            # where the URLs hold addresses
    resolver = "validate"                         # honour TLSA records: or "trust-ad", or "iterate"; off without it
    dns-servers = "192.0.2.1 [2001:db8::1]:53"    # in place of the system's
    anchors = "anchors.zone"                      # DS or DNSKEY records, in place of the root's
    root-servers = "127.0.1.1:5300"               # where "iterate" begins, in place of the Internet's
    dns-port = "5300"                             # of all authoritative servers, for "iterate"
    keys = "keys.sqlite"                          # a key store: signs, encrypts and opens with S/MIME
    keys-password-file = "keys.password"          # its first line opens the key store
    labels = "labels.toml"                        # a policy file for security labels
    revocation = "ask"                            # ask authorities about certificates: or "require" answers, or "at-hand"
    for-unknown = "cbc"                           # the cipher for strangers: "gcm", or "by-key", which is the default

Relative paths are taken from the file's folder.
"""

from __future__ import annotations

import enum
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from letterlock.errors import Malformed, SettingsFault
from letterlock.mua.settings import Checking, MailServer, UserAgentSettings
from letterlock.trust.smime.choose_cipher import Unknown

if TYPE_CHECKING:
    from letterlock.host.resolver.system import ResolverSettings

E = TypeVar("E", bound=enum.Enum)
_FILE_KEYS = ("ca", "keys", "keys-password-file", "labels")
_RESOLVER_KEYS = ("dns-servers", "anchors", "root-servers", "dns-port")
KEYS = ("user", "password", "password-file", "imap", "submission", "server-name", "resolver", *_RESOLVER_KEYS,
        *_FILE_KEYS, "for-unknown", "revocation")  # fmt: skip


def load_profile(file: Path | None, given: dict[str, str | None]) -> UserAgentSettings:
    """Return the settings; what is `given` (by the names of KEYS) wins over the file. Raises SettingsFault."""
    values = _read(file) if file is not None else {}
    values |= {key: value for key, value in given.items() if value is not None}
    problems = [f"user-agent: {key} is not set; give --{key} or write it into a profile" for key in ("user",)
                if not values.get(key)]  # fmt: skip
    password = values.get("password", "")
    if not password and (password_file := values.get("password-file")):
        try:
            password = Path(password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"user-agent.password-file = {password_file}: cannot be read ({_reason(error)})")
    servers = _servers(values, problems)
    files = {key: Path(values[key]) for key in _FILE_KEYS if values.get(key)}
    problems += [
        f"user-agent.{key} = {path}: there is no such file" for key, path in files.items() if not path.is_file()
    ]
    unknown = _one_of(Unknown, "for-unknown", values, problems) or Unknown.BY_KEY
    checking = _one_of(Checking, "revocation", values, problems) or Checking.AT_HAND
    resolver = _resolver(values, problems)
    if problems:
        raise SettingsFault(tuple(problems))
    return UserAgentSettings(
        user=values["user"],
        password=password,
        imap=servers["imap"],
        submission=servers["submission"],
        roots=files.get("ca"),
        resolver=resolver,
        keys=files.get("keys"),
        keys_password_file=files.get("keys-password-file"),
        labels=files.get("labels"),
        for_unknown=unknown,
        revocation=checking,
    )


def _one_of(kind: type[E], key: str, values: dict[str, str], problems: list[str]) -> E | None:
    """Return the member of an enum that a key names, None for none, adding what is wrong with it to `problems`."""
    value = values.get(key)
    found = next((each for each in kind if each.value == value), None)
    if value and found is None:
        known = ", ".join(each.value for each in kind)
        problems.append(f"user-agent.{key} = {value}: expected one of {known}")
    return found


def _servers(values: dict[str, str], problems: list[str]) -> dict[str, MailServer | None]:
    """Return the servers by kind, adding what is wrong with them to `problems`."""
    servers: dict[str, MailServer | None] = dict.fromkeys(("imap", "submission"))
    for kind in servers:
        try:
            url = values.get(kind)
            servers[kind] = MailServer.parse(url, kind, name=values.get("server-name", "")) if url else None
        except Malformed as fault:
            problems.append(f"user-agent.{kind}: {fault.problem}")
    return servers


def _resolver(values: dict[str, str], problems: list[str]) -> ResolverSettings | None:
    """Return who is asked about names, adding what is wrong with it to `problems`; None where nobody is named."""
    chosen = values.get("resolver")
    if not chosen:
        problems += [f"user-agent.{key} says nothing without user-agent.resolver" for key in _RESOLVER_KEYS
                     if values.get(key)]  # fmt: skip
        return None
    # Loading a resolver takes a while, and most commands need none.
    from letterlock.host.resolver.exchange import Server
    from letterlock.host.resolver.system import Mode, ResolverSettings

    modes = {mode.value: mode for mode in Mode}
    if chosen not in modes:
        problems.append(f"user-agent.resolver = {chosen}: expected one of {', '.join(modes)}")
    addresses: dict[str, tuple[str, ...]] = {}
    for key in ("dns-servers", "root-servers"):
        addresses[key] = tuple(values.get(key, "").replace(",", " ").split())
        for address in addresses[key]:
            try:
                Server.parse(address)
            except ValueError as error:
                problems.append(f"user-agent.{key}: {error}; write addresses, as in 192.0.2.1 or [2001:db8::1]:53")
    port = values.get("dns-port") or "53"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        problems.append(f"user-agent.dns-port = {port}: expected a port number")
    anchors = Path(values["anchors"]) if values.get("anchors") else None
    if anchors is not None and not anchors.is_file():
        problems.append(f"user-agent.anchors = {anchors}: there is no such file")
    if problems:
        return None
    return ResolverSettings(modes[chosen], addresses["dns-servers"], anchors, addresses["root-servers"], int(port))


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _read(file: Path) -> dict[str, str]:
    try:
        section = tomllib.loads(file.read_text(encoding="utf-8")).get("user-agent")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFault((f"{file}: cannot be read ({_reason(error)})",)) from None
    if not isinstance(section, dict):
        raise SettingsFault((f"{file}: there is no section [user-agent]",))
    problems = [f"{file}: user-agent.{key} is not known; known are {', '.join(KEYS)}" for key in section
                if key not in KEYS]  # fmt: skip
    problems += [f"{file}: user-agent.{key} must be text in quotes" for key, value in section.items()
                 if not isinstance(value, str)]  # fmt: skip
    if problems:
        raise SettingsFault(tuple(problems))
    values = {str(key): str(value) for key, value in section.items()}
    for key in ("password-file", "anchors", *_FILE_KEYS):
        if key in values:
            values[key] = str(file.parent / values[key])
    return values
