"""The ledger: what is appended is read again, from any thread, and a broken disk costs no mail."""

import threading
from pathlib import Path

import pytest

from letterlock.errors import Unavailable
from letterlock.host.ledger import Entry, Ledger


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    """By kind, time, domain and transaction, over a reopened file."""
    path = tmp_path / "a" / "ledger.sqlite"
    ledger = Ledger.open(path)
    for number in range(500):
        kind = "assessed" if number % 2 else "tls"
        ledger.append(
            Entry(1000.0 + number, kind, f"t{number}", f"d{number % 5}.test", {"n": number, "x": ["ü", None]})
        )
    ledger.close()
    ledger = Ledger.open(path)
    entries = list(ledger.read(kind="assessed", since=1100, until=1200))
    assert [entry.facts["n"] for entry in entries] == list(range(101, 200, 2))
    assert next(ledger.read(transaction="t42")).facts == {"n": 42, "x": ["ü", None]}
    assert len(list(ledger.read(domain="d3.test"))) == 100
    ledger.forget(1400)
    assert len(list(ledger.read())) == 100
    ledger.close()


def test_many_threads_append(tmp_path: Path) -> None:
    """Nothing is lost between threads."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    threads = [
        threading.Thread(target=lambda n=n: [ledger.append(Entry(n, "k", str(i))) for i in range(200)])
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.flush()
    assert len(list(ledger.read())) == 1000
    assert ledger.lost == 0
    ledger.close()


def test_a_ledger_that_cannot_be_opened(tmp_path: Path) -> None:
    """Unavailable, with the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file/ledger"):
        Ledger.open(tmp_path / "file" / "ledger.sqlite")


@pytest.mark.parametrize(
    "entry",
    [Entry(float("nan"), "k"), Entry(1, "k", domain="\ud800"), Entry(1, "k", transaction=1 << 70)],  # type: ignore[arg-type]
)
def test_what_no_column_holds_costs_only_itself(tmp_path: Path, entry: Entry) -> None:
    """Those written with it are kept, and those that come after."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    for one in (Entry(1, "before"), entry, Entry(2, "beside")):
        ledger.append(one)
    flushing = threading.Thread(target=ledger.flush, daemon=True)
    flushing.start()
    flushing.join(30)
    assert not flushing.is_alive()
    ledger.append(Entry(3, "after"))
    ledger.flush()
    assert [one.kind for one in ledger.read()] == ["before", "beside", "after"]
    assert ledger.lost == 1
    assert ledger.problem
    ledger.close()


def test_what_json_cannot_hold_costs_only_itself(tmp_path: Path) -> None:
    """A lone surrogate loses its entry, not the ledger."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    ledger.append(Entry(1, "k", facts={"x": "\ud800"}))
    ledger.append(Entry(2, "k", facts={"x": "fine"}))
    ledger.flush()
    assert [entry.at for entry in ledger.read()] == [2]
    assert ledger.lost == 1
    ledger.close()


def test_a_ledger_that_breaks_is_unavailable(tmp_path: Path) -> None:
    """Reading says so in the words every role understands."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(path)
    ledger.close()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="ledger"):
        list(ledger.read())
