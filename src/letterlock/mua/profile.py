"""A user's profile: the section `[user-agent]` of a file, with options and the environment before it.

    [user-agent]
    user = "anna@rosewood.test"
    password = "..."                              # or password-file = "..."
    imap = "imaps://mail.rosewood.test"
    submission = "submissions://mail.rosewood.test"
    ca = "lab-ca.pem"                             # in place of the system's authorities
    server-name = "mail.rosewood.test"            # where the URLs hold addresses

Relative paths are taken from the file's folder.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from letterlock.errors import Malformed, SettingsFault
from letterlock.mua.settings import MailServer, UserAgentSettings

KEYS = ("user", "password", "password-file", "imap", "submission", "ca", "server-name")


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
            problems.append(f"user-agent.password-file = {password_file}: cannot be read ({error})")
    servers: dict[str, MailServer | None] = {}
    for kind in ("imap", "submission"):
        try:
            url = values.get(kind)
            servers[kind] = MailServer.parse(url, kind, name=values.get("server-name", "")) if url else None
        except Malformed as fault:
            problems.append(f"user-agent.{kind}: {fault.problem}")
    roots = Path(values["ca"]) if values.get("ca") else None
    if roots is not None and not roots.is_file():
        problems.append(f"user-agent.ca = {roots}: there is no such file")
    if problems:
        raise SettingsFault(tuple(problems))
    return UserAgentSettings(
        user=values["user"], password=password, imap=servers["imap"], submission=servers["submission"], roots=roots
    )


def _read(file: Path) -> dict[str, str]:
    try:
        section = tomllib.loads(file.read_text(encoding="utf-8")).get("user-agent")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFault((f"{file}: cannot be read ({error})",)) from None
    if not isinstance(section, dict):
        raise SettingsFault((f"{file}: there is no section [user-agent]",))
    problems = [f"{file}: user-agent.{key} is not known; known are {', '.join(KEYS)}" for key in section
                if key not in KEYS]  # fmt: skip
    problems += [f"{file}: user-agent.{key} must be text in quotes" for key, value in section.items()
                 if not isinstance(value, str)]  # fmt: skip
    if problems:
        raise SettingsFault(tuple(problems))
    values = {str(key): str(value) for key, value in section.items()}
    for key in ("ca", "password-file"):
        if key in values:
            values[key] = str(file.parent / values[key])
    return values
