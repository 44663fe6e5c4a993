"""Files and folders that are there after a power cut: octets and names are on disk when these return.

A synced file whose name is not synced is gone after a power cut on ext4 and xfs, and so is a synced name in a folder whose own
name is not.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(folder: Path, mode: int = 0o777) -> list[Path]:
    """Make a folder, with `mode`, and those above it, unless they are there; return what was made, the topmost first.

    Raises OSError.
    """
    missing = [one for one in reversed((folder, *folder.parents)) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for one in missing:
        sync_directory(one.parent)
    return missing


def write_new(path: Path, octets: bytes, mode: int = 0o600) -> None:
    """Write a file that must not be there yet, in a folder that is; all of it or none.

    Raises FileExistsError, OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise error if error.filename else OSError(error.errno, error.strerror, str(path)) from None
