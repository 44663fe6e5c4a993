"""Which sockets a server gets."""

from pathlib import Path

import pytest

from letterlock.admd.settings import parse
from letterlock.admd.sockets import bound_sockets
from letterlock.errors import SettingsFault
from letterlock.host.listen import bind

SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")


def test_every_problem_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    """Two endpoints that are taken: both are named; the one that could be bound is free again."""
    taken = bind("127.0.0.1", 0)
    taken.listen()
    free = bind("127.0.0.1", 0)
    endpoint, free_port = f"127.0.0.1:{taken.getsockname()[1]}", free.getsockname()[1]
    free.close()
    listen = {name: [] for name in SERVICES} | {"smtp": [f"127.0.0.1:{free_port}"], "imaps": [endpoint]}
    table = {"domain": "rosewood.test", "listen": listen, "metrics": {"listen": [endpoint]}}
    with pytest.raises(SettingsFault) as fault:
        bound_sockets(parse(table, tmp_path / "letterlock.toml"))
    taken.close()
    assert [problem.partition(" ")[0] for problem in fault.value.problems] == ["listen.imaps", "metrics.listen"]
    again = bind("127.0.0.1", free_port)
    again.close()
