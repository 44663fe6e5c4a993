"""Certificates of recipients that stand in files: vetted before anything is encrypted to them.

One that has run out or is not for encryption is refused. With `--anchor` it must lead there, and must not have been revoked:
by lists that are given, or (with `--online`) by what its authority answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, fail, safe
from letterlock.errors import NotAuthentic, OurFault
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Anchor, check_current
from letterlock.trust.pkix.revocation import Status
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.recipients import check_recipient

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Vetting:
    """By what recipients' certificates are vetted."""

    anchors: tuple[Path, ...]
    certs: tuple[Path, ...]
    crls: tuple[Path, ...]
    require_revocation: bool
    online: Online

    def certificates(self, paths: Sequence[Path]) -> list[Certificate]:
        """Return the first certificate of each file. Raises OurFault for one that nothing may be encrypted to."""
        if not self.anchors and (self.crls or self.require_revocation or self.online.is_on):
            fail("--crl, --online and --require-revocation tell nothing without an --anchor", Exit.USAGE)
        found = {path: files.certificates(path) for path in paths}
        trust = Trust(
            files.now(),
            tuple(Anchor.of(each) for path in self.anchors for each in files.certificates(path)),
            tuple(each for path in self.certs for each in files.certificates(path))
            + tuple(each for chain in found.values() for each in chain[1:]),
            tuple(each for path in self.crls for each in files.crls(path)),
            require_revocation=self.require_revocation,
        )
        about = self.online.about([chain[0] for chain in found.values()], trust)
        for path, (certificate, *_chain) in found.items():
            try:
                self._check(path, certificate, trust, about)
            except NotAuthentic as fault:
                raise OurFault(f"{path} is not encrypted to: {fault}") from None
        return [found[path][0] for path in paths]

    def _check(self, path: Path, certificate: Certificate, trust: Trust, about: Mapping[Certificate, Trust]) -> None:
        if not self.anchors:
            smime_profile.check_encryption(certificate)
            check_current(certificate, trust.when)
            return
        state = check_recipient(certificate, about[certificate])
        if state.status is Status.UNKNOWN:
            told = f"note: {path} may have been revoked, which could not be told: {state.reason}"
            click.echo(safe(told), err=True)


def vetting_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options, as its parameter `vetting`."""

    def wrapped(**parameters: object) -> R:
        names = ("anchors", "certs", "crls", "require_revocation", "online")
        vetting = Vetting(*(parameters.pop(name) for name in names))  # type: ignore[arg-type]  # click made them of these types
        return command(vetting=vetting, **parameters)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
    wrapped = online_options(wrapped)
    options = (
        click.option(
            "--anchor",
            "anchors",
            type=files.FILE,
            multiple=True,
            help="Authorities a recipient's certificate must lead to.",
        ),
        click.option("--chain", "certs", type=files.FILE, multiple=True, help="More certificates to build paths with."),
        click.option("--crl", "crls", type=files.FILE, multiple=True, help="Revocation lists, with --anchor."),
        click.option("--require-revocation", is_flag=True, help="Refuse certificates that may have been revoked."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
