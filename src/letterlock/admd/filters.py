"""The filters a domain's settings name: milters, and functions of the site's own, loaded at the start.

A function is named FILE.py:NAME, the file relative to the settings' folder, or MODULE:NAME for what is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from letterlock.admd.settings import Settings
from letterlock.errors import SettingsFault
from letterlock.host.logs import Log
from letterlock.host.milter_client import FilterSettings
from letterlock.mta.filters import FilterChain, Milter, Own
from letterlock.mta.own_filter import OwnFilter


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of both ways in."""

    inbound: FilterChain
    submission: FilterChain

    def adopt(self, other: Filters) -> None:
        """Ask other filters from the next message on."""
        self.inbound.adopt(other.inbound)
        self.submission.adopt(other.submission)


def filters_of(settings: Settings) -> Filters:
    """Return the filters. Raises SettingsFault for a function that cannot be loaded."""
    wanted = settings.filters
    own = tuple(Own(name, _function(settings, name), wanted.answer_seconds) for name in wanted.python)

    def chain(addresses: Sequence[str], role: str) -> FilterChain:
        milters = (
            Milter(FilterSettings(address, answer_seconds=wanted.answer_seconds), settings.host_name)
            for address in addresses
        )
        return FilterChain((*milters, *own), Log(role), wanted.optional)

    return Filters(chain(wanted.addresses, "mta"), chain(wanted.submission, "msa"))


def _function(settings: Settings, name: str) -> OwnFilter:
    where, colon, attribute = name.rpartition(":")
    if not colon or not where:
        raise _fault(name, "write FILE.py:NAME or MODULE:NAME")
    try:
        module = _file(settings, where) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # the border: a module may raise anything when it is loaded
        raise _fault(name, f"cannot be loaded: {error!r}") from error
    function: OwnFilter | None = getattr(module, attribute, None)
    if not callable(function):
        raise _fault(name, f"has no function {attribute}")
    return function


def _file(settings: Settings, where: str) -> ModuleType:
    path = settings.path(settings.folder / where)
    specification = importlib.util.spec_from_file_location(f"letterlock_site_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def _fault(name: str, problem: str) -> SettingsFault:
    return SettingsFault((f"filters.python = {name!r}: {problem}; see docs/filters.md",))
