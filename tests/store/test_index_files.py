"""The index opens no files but its own, however much a statement may have to undo."""

from __future__ import annotations

import contextlib
from pathlib import Path

from letterlock.store.index import SETTLE, Batch, connect, prepare, value, write_batches

_ENTRIES = 4000
_ADD_ENTRY = "INSERT INTO queue_entries VALUES (?, ?, ?, 1, '', x'00', 0, 0, 0, '', '', '{}', 0, 1, '')"
_ADD_RECIPIENT = "INSERT INTO queue_recipients VALUES (?, 0, 'x', ?, 0, '', '', 0, 0, 0, 0, NULL)"


def open_files() -> set[str]:
    """The names of the files this process has open."""
    names = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            names.add(str(descriptor.readlink()))
    return names


def test_settling_what_lies_far_apart_needs_no_file_elsewhere(tmp_path: Path) -> None:
    """64 settlements in one statement change hundreds of pages, all of which might have to be put back."""
    connection = connect(tmp_path / "index.sqlite")
    prepare(connection)
    numbers = range(1, _ENTRIES + 1)
    with connection:
        connection.execute("INSERT INTO segments (id, end, checksum) VALUES (1, 0, 0)")
        connection.executemany("INSERT INTO contents VALUES (?, 1, 0, 1, 0, 1, 1)", [(number,) for number in numbers])
        connection.executemany(_ADD_ENTRY, [(number, f"{number * 7919 % _ENTRIES:04}", number) for number in numbers])
        connection.executemany(_ADD_RECIPIENT, [(number, f"{number * 31 % 997}.test") for number in numbers])
    batch = Batch(1)
    for number in range(0, _ENTRIES, _ENTRIES // 64):
        batch.add(SETTLE, f"{number:04}", 0, True, b"", None, False, 0)
    before, seen = open_files(), set[str]()

    def look() -> bool:
        seen.update(open_files())
        return False

    connection.set_progress_handler(look, 20)
    with connection:
        write_batches(connection, [batch])
    assert {path for path in seen - before if not path.startswith(str(tmp_path))} == set()
    assert value(connection, "SELECT count(*) FROM queue_entries") == _ENTRIES - len(batch.statements)
    connection.close()
