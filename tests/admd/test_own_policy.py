"""The domain's own MTA-STS policy: what others who look for it find."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.conftest import self_signed

from letterlock.admd.domain_facts import facts_of
from letterlock.admd.own_policy import policy_id, serve_policy
from letterlock.admd.settings import Settings, parse
from letterlock.formats.mta_sts import Mode, Policy
from letterlock.host.clock import SetClock
from letterlock.host.https import Fetch
from letterlock.host.listen import bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.tls import authenticated_client
from letterlock.hostmaster.records import wanted_records, zone_text
from letterlock.mta.sts_policies import StsPolicies


def settings(folder: Path, **policy: object) -> Settings:
    for part, name in (("tls", "mail.rosewood.test"), ("web", "mta-sts.rosewood.test")):
        (folder / part).mkdir(exist_ok=True)
        if not (folder / part / "certificate.pem").exists():
            pair = self_signed(folder / part, name)
            pair.chain.rename(folder / part / "certificate.pem")
            pair.key.rename(folder / part / "key.pem")
    wanted = {
        "listen": ["127.0.0.1:0"],
        "certificate": "web/certificate.pem",
        "key": "web/key.pem",
        **policy,
    }
    return parse({"domain": "rosewood.test", "mta_sts": wanted}, folder / "letterlock.toml")


async def test_others_find_the_policy_that_the_records_promise(tmp_path: Path) -> None:
    """From the printed records alone: the TXT record, the address, the certificate, the policy."""
    before = send_to(lambda _line: None)
    values = settings(tmp_path, mode="enforce", max_age_days=30)
    records = zone_text(wanted_records(facts_of(values, addresses=("127.0.0.1",))))
    assert f'_mta-sts.rosewood.test. 3600 IN TXT "v=STSv1; id={policy_id(values)}"' in records
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(send_to, before)
        host = await serve_policy(values, [bind("127.0.0.1", 0)], stack)
        assert host is not None
        fetch = Fetch(
            ZoneTable.parse(records),
            authenticated_client(tmp_path / "web" / "certificate.pem"),
            65_536,
            port=host.listener.endpoints[0].port,
            allow_private=True,
        )
        policies = StsPolicies(fetch, clock=SetClock(), log=Log("mta"))
        found = await policies.policy("rosewood.test")
        assert found == Policy(Mode.ENFORCE, ("mail.rosewood.test",), 30 * 86_400)
        host.prepare(settings(tmp_path, mode="none"))()
        other = StsPolicies(fetch, clock=SetClock(), log=Log("mta"))
        assert await other.policy("rosewood.test") == Policy(Mode.NONE, ("mail.rosewood.test",), 7 * 86_400)


def test_the_id_changes_with_the_policy_and_only_with_it(tmp_path: Path) -> None:
    one = settings(tmp_path)
    assert policy_id(one) == policy_id(settings(tmp_path, listen=["127.0.0.1:444"]))
    assert policy_id(one) != policy_id(settings(tmp_path, mode="enforce"))
    assert policy_id(one) != policy_id(settings(tmp_path, max_age_days=8))
    assert policy_id(settings(tmp_path, listen=[])) == ""


async def test_a_certificate_for_another_name_is_told(tmp_path: Path) -> None:
    lines: list[str] = []
    before = send_to(lines.append)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(send_to, before)
        values = settings(tmp_path, certificate="tls/certificate.pem", key="tls/key.pem")
        await serve_policy(values, [bind("127.0.0.1", 0)], stack)
    assert any("does not name the policy's host" in line and "mta-sts.rosewood.test" in line for line in lines)
