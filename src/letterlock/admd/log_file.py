"""The file that log lines go to, by the settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from letterlock.admd.settings import Settings
from letterlock.errors import SettingsFault
from letterlock.host import logs


class LogFile:
    """The log's file; opened anew on demand, for those who rename it to begin another. Several processes may write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._opened()

    def _opened(self) -> FileIO:
        try:
            return self._path.open("ab", buffering=0)
        except OSError as error:
            raise SettingsFault((f"log.file = '{self._path}': {error.strerror}",)) from None

    def write(self, line: str) -> None:
        """Write one line. Raises OSError."""
        self._file.write(line.encode("ascii") + b"\n")

    def open_anew(self) -> None:
        """Go on in the file that has the name now. Raises SettingsFault; then the old one is kept."""
        before, self._file = self._file, self._opened()
        before.close()

    def close(self) -> None:
        """Close it."""
        self._file.close()


@contextlib.contextmanager
def log_file(settings: Settings) -> Iterator[LogFile | None]:
    """Send the lines of this process to the file of the settings, if there is one, for the length of the context."""
    if settings.log.file is None:
        yield None
        return
    file = LogFile(settings.path(settings.log.file))
    before = logs.send_to(file.write)
    try:
        yield file
    finally:
        logs.send_to(before)
        file.close()
