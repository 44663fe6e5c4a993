"""The commands `letterlock dns` and `letterlock dane`."""

import datetime
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.admd.create import create
from letterlock.admd.domain_facts import facts_of
from letterlock.cli.root import letterlock
from letterlock.formats.dns.zone import Zone
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.hostmaster.records import wanted_records
from letterlock.trust.dnssec.sign import SigningKey
from letterlock.trust.primitives.server_certificates import Validity, server
from letterlock.trust.primitives.zone_keys import to_pem

YEAR = Validity(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(days=3650))
TABLE = """
rosewood.test. IN MX 10 mail.rosewood.test.
mail.rosewood.test. IN A 127.0.1.1
$SECURE rosewood.test
$TIMEOUT dead.test
$BOGUS bogus.test
"""


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table"
    path.write_text(TABLE)
    return str(path)


@pytest.mark.parametrize(
    ("name", "mnemonic", "code", "shown"),
    [
        ("rosewood.test", "MX", 0, "rosewood.test. 300 IN MX 10 mail.rosewood.test.\n; found, secure"),
        ("rosewood.test", "TXT", 1, "; no data, secure"),
        ("none.test", "A", 1, "; no such name, insecure"),
        ("dead.test", "A", 2, "; could not look up"),
        ("bogus.test", "A", 2, "bogus"),
        ("rosewood.test", "NONSENSE", 64, ""),
    ],
)
def test_lookup_says_what_it_found(table: str, name: str, mnemonic: str, code: int, shown: str) -> None:
    """The exit code tells found, absent and unknown apart."""
    result = CliRunner().invoke(letterlock, ["dns", "lookup", name, mnemonic, "--zone", table])
    assert (result.exit_code, shown in result.output) == (code, True)


def test_lookup_answers_in_json(table: str) -> None:
    result = CliRunner().invoke(letterlock, ["dns", "lookup", "rosewood.test", "MX", "--zone", table, "--json"])
    value = json.loads(result.output)
    assert (value["records"], value["security"]) == (["10 mail.rosewood.test."], "secure")


def test_records_that_are_published_pass_the_check(tmp_path: Path) -> None:
    """What `dns records` prints satisfies `dns check`; without one record it does not."""
    options = ["rosewood.test", "--address", "127.0.1.1", "--dkim", "s1=v=DKIM1; p=AAAA", "--config", str(tmp_path)]
    printed = CliRunner().invoke(letterlock, ["dns", "records", *options])
    assert printed.exit_code == 0
    published = tmp_path / "published"
    published.write_text(printed.output)
    check = ["dns", "check", *options, "--zone", str(published)]
    assert CliRunner().invoke(letterlock, check).exit_code == 0
    published.write_text("".join(line for line in printed.output.splitlines(True) if " MX " not in line))
    result = CliRunner().invoke(letterlock, check)
    assert result.exit_code == 1
    assert "+rosewood.test. IN MX 10 mail.rosewood.test." in result.output
    published.write_text(published.read_text() + "$TIMEOUT rosewood.test MX\n")
    assert CliRunner().invoke(letterlock, check).exit_code == 2


@pytest.mark.parametrize("more", [[], ["--nsec3"], ["--algorithm", "ED25519"]])
def test_zone_sign_signs(tmp_path: Path, more: list[str]) -> None:
    """The signed zone is a zone; keys are made once and used again."""
    text = tmp_path / "zone"
    text.write_text("@ IN SOA ns hostmaster 1 1 1 1 1\n@ IN NS ns\nns IN A 127.0.0.1\n")
    command = ["dns", "zone", "sign", str(text), "rosewood.test", "--keys", str(tmp_path / "keys"), *more]
    first, second = (CliRunner().invoke(letterlock, command) for _ in range(2))
    assert first.exit_code == 0
    assert first.stderr.startswith("rosewood.test. 3600 IN DS ")
    assert first.stderr == second.stderr
    assert Zone.parse(first.stdout, "rosewood.test").is_signed
    shown = CliRunner().invoke(letterlock, ["dns", "zone", "show", str(text), "rosewood.test", "--json"])
    assert [record["type"] for record in json.loads(shown.output)] == ["SOA", "NS", "A"]


def test_zone_text_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    text = tmp_path / "zone"
    text.write_text("@ IN SOA ns hostmaster 1 1 1 1 1\n@ IN MX ten mail\n")
    result = CliRunner().invoke(letterlock, ["dns", "zone", "show", str(text), "rosewood.test"])
    assert (result.exit_code, "line 2" in result.stderr) == (64, True)


def test_dane_makes_records(tmp_path: Path) -> None:
    """The records are for the certificate and the hashed local part (RFC 8162 section 3)."""
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(server(("mail.test",), YEAR, 1).certificate)
    result = CliRunner().invoke(letterlock, ["dane", "tlsa", str(pem), "--name", "_25._tcp.mail.test"])
    assert result.output.startswith("_25._tcp.mail.test. IN TLSA 3 1 1 ")
    result = CliRunner().invoke(letterlock, ["dane", "smimea", "hugh@example.com", str(pem)])
    label = "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6"
    assert result.output.startswith(f"{label}._smimecert.example.com. IN SMIMEA 3 0 0 ")


def test_dane_check_cannot_tell_when_the_lookup_fails(table: str) -> None:
    assert CliRunner().invoke(letterlock, ["dane", "check", "dead.test", "--zone", table]).exit_code == 2


def test_a_roll_over_is_begun_by_command(tmp_path: Path) -> None:
    """A KSK's DS record is printed for the parent; it is confirmed only when the parent shows it."""
    text, keys = tmp_path / "zone", str(tmp_path / "keys")
    text.write_text("@ IN SOA ns hostmaster 1 1 1 1 1\n@ IN NS ns\nns IN A 127.0.0.1\n")
    run = CliRunner().invoke
    first = run(letterlock, ["dns", "zone", "sign", str(text), "rosewood.test", "--keys", keys])
    shown = run(letterlock, ["dns", "zone", "ds", "rosewood.test", "--keys", keys])
    assert shown.stdout == first.stderr
    rolled = run(letterlock, ["dns", "zone", "roll", "rosewood.test", "--keys", keys, "--role", "ksk"])
    assert (rolled.exit_code, " IN DS " in rolled.stdout) == (0, True)
    assert run(letterlock, ["dns", "zone", "roll", "rosewood.test", "--keys", keys, "--role", "ksk"]).exit_code == 1
    parent = tmp_path / "parent"
    confirm = ["dns", "zone", "confirm", "rosewood.test", "--keys", keys, "--zone", str(parent)]
    parent.write_text(first.stderr)
    assert run(letterlock, confirm).exit_code == 1
    parent.write_text("$TIMEOUT rosewood.test DS\n")
    assert run(letterlock, confirm).exit_code == 2
    parent.write_text(first.stderr + rolled.stdout)
    assert run(letterlock, confirm).exit_code == 0
    assert len(run(letterlock, ["dns", "zone", "ds", "rosewood.test", "--keys", keys]).stdout.splitlines()) == 2


def test_the_next_tls_key_is_ready_when_every_cache_knows_it(tmp_path: Path) -> None:
    """Not published: no. Published a moment ago: not yet. Published for two TTLs: yes. Not to be looked up: unknown."""
    next_key = tmp_path / "next.pem"
    next_key.write_bytes(to_pem(SigningKey.generate().private))
    found = create(tmp_path / "a", "rosewood.test", {"tls": {"next_key": str(next_key)}}, clock=SystemClock(),
                   entropy=SeededEntropy())  # fmt: skip
    table = tmp_path / "table"
    command = ["dane", "ready", "--config", str(found.file), "--zone", str(table)]
    table.write_text("$SECURE rosewood.test\n")
    assert CliRunner().invoke(letterlock, command).exit_code == 1
    records = "".join(f"{record.line()}\n" for record in wanted_records(facts_of(found.settings)))
    table.write_text("$SECURE rosewood.test\n" + records)
    result = CliRunner().invoke(letterlock, command)
    assert (result.exit_code, "it may be from" in result.output) == (1, True)
    before = next_key.stat().st_mtime - 3 * 3600
    os.utime(next_key, (before, before))
    assert CliRunner().invoke(letterlock, command).exit_code == 0
    smtp_only = [line for line in records.splitlines() if "TLSA" not in line or line.startswith("_25.")]
    table.write_text("$SECURE rosewood.test\n" + "\n".join(smtp_only))
    assert CliRunner().invoke(letterlock, command).exit_code == 0  # who publishes none for a service may roll too
    (next_line,) = [line for line in records.splitlines() if line.startswith("_993.")][1:]
    table.write_text("$SECURE rosewood.test\n" + records.replace(next_line, ""))
    result = CliRunner().invoke(letterlock, command)
    assert (result.exit_code, "+_993._tcp" in result.output) == (1, True)
    table.write_text("$TIMEOUT _25._tcp.mail.rosewood.test TLSA\n")
    assert CliRunner().invoke(letterlock, command).exit_code == 2
