"""An index made by an older version is taken up."""

from __future__ import annotations

import apsw
import pytest

from letterlock.errors import Unavailable
from letterlock.store.index import prepare, value


def test_the_column_that_is_missing_is_added() -> None:
    """Version 2 knew no RRVS."""
    connection = apsw.Connection(":memory:")
    prepare(connection)
    connection.execute("ALTER TABLE queue_recipients DROP COLUMN valid_since")
    connection.execute("UPDATE meta SET value = 2 WHERE key = 'version'")
    prepare(connection)
    assert value(connection, "SELECT value FROM meta WHERE key = 'version'") == 3
    connection.execute("SELECT valid_since FROM queue_recipients")


def test_an_unknown_version_is_refused() -> None:
    """Of a later program."""
    connection = apsw.Connection(":memory:")
    prepare(connection)
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    with pytest.raises(Unavailable):
        prepare(connection)
