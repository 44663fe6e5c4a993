"""Randomness as an argument: what needs it is given an `Entropy`.

`SystemEntropy` is the operating system's; `SeededEntropy` repeats itself, for tests, and is of no worth for secrets.
"""

from __future__ import annotations

import random
import secrets
from typing import Protocol, TypeVar

T = TypeVar("T")


class Entropy(Protocol):
    """A source of octets nobody can foretell."""

    def octets(self, count: int) -> bytes:
        """Return `count` octets."""
        ...

    def shuffled(self, items: tuple[T, ...]) -> tuple[T, ...]:
        """Return the items in an order nobody can foretell."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def octets(self, count: int) -> bytes:
        """Return `count` octets fit for secrets."""
        return secrets.token_bytes(count)

    def shuffled(self, items: tuple[T, ...]) -> tuple[T, ...]:
        """Return the items in random order."""
        return tuple(secrets.SystemRandom().sample(items, len(items)))


class SeededEntropy:
    """A generator that gives the same for the same seed: for tests only."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - foreseeable on purpose

    def octets(self, count: int) -> bytes:
        """Return `count` foreseeable octets."""
        return self._random.randbytes(count)

    def shuffled(self, items: tuple[T, ...]) -> tuple[T, ...]:
        """Return the items in a foreseeable order."""
        return tuple(self._random.sample(items, len(items)))
