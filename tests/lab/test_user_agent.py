"""A person of the lab reads and sends with the profile the lab wrote: the servers prove themselves by DANE."""

from __future__ import annotations

import asyncio
import datetime
import secrets
from pathlib import Path

from click.testing import CliRunner, Result

from letterlock.cli.root import letterlock
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.lab.internet import Internet
from letterlock.lab.plan import draw
from letterlock.trust.primitives.server_certificates import Validity, authority


async def mail(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, letterlock, ["mail", *arguments])


async def test_the_lab_is_read_by_dane(tmp_path: Path) -> None:
    """No root vouches for the servers here, so that only their TLSA records can; another server's do not fit."""
    plan = draw(secrets.randbelow, lambda: secrets.token_hex(9))
    rosewood, harbor = plan.organisations
    stranger = tmp_path / "stranger.pem"
    now = datetime.datetime.now(datetime.UTC)
    stranger.write_bytes(authority("Nobody here", Validity(now, datetime.timedelta(days=1)), 1).certificate)
    async with Internet.running(plan, tmp_path / "lab", clock=SystemClock(), entropy=SystemEntropy()) as internet:
        options = ("--profile", str(internet.profile(rosewood.people[0])), "--ca", str(stranger), "--verbose")
        proof = f"{rosewood.host_name} proved itself by DANE: DANE-EE(3) SPKI(1) SHA2-256(1)"
        for scheme in ("imaps", "imap"):
            listed = await mail("list", *options, "--imap", f"{scheme}://{rosewood.endpoint(scheme)}")
            assert listed.exit_code == 0, listed.output
            assert proof in listed.stderr
        for scheme in ("submissions", "submission"):
            url = f"{scheme}://{rosewood.endpoint(scheme)}"
            sent = await mail("send", *options, "--no-copy", "--submission", url, "--text", "x", "bruno@rosewood.test")
            assert sent.exit_code == 0, sent.output
            assert proof in sent.stderr
        refused = await mail("list", *options, "--imap", f"imaps://{harbor.endpoint('imaps')}")
        assert refused.exit_code != 0
        if harbor.ports == rosewood.ports:  # else rosewood's zone says nothing of that port
            assert "does not prove itself by its TLSA records: DANE-EE(3)" in refused.output
