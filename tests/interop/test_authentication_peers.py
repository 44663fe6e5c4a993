"""DKIM, ARC, SPF and DMARC against dkimpy, OpenDKIM, OpenDMARC and mailauth, both ways, on generated messages.

docs/interop.d/authentication.md lists where peers and we disagree, each with the clause.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Mx, Rdata, Txt
from letterlock.trust import arc, dkim, dmarc, spf
from letterlock.trust.primitives import eddsa, private_keys, rsa

pytestmark = pytest.mark.interop
PEERS = Path(__file__).parent / "peers"


def _library() -> Any:
    specification = importlib.util.spec_from_file_location("libopendkim", PEERS / "libopendkim.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.LibOpenDkim


LibOpenDkim = _library()
MODULES = Path(os.environ.get("LETTERLOCK_INTEROP", ".interop"))
NOW = int(time.time()) - 60  # peers judge by their own clock
COUNT = 320
CANONICALIZATIONS = [(a, b) for a in dkim.Canonicalization for b in dkim.Canonicalization]


@functools.cache
def keys() -> dict[str, dkim.SigningKey]:
    """One key of each kind."""
    return {
        "rsa-sha256": dkim.SigningKey("rosewood.test", "r", rsa.generate()),
        "ed25519-sha256": dkim.SigningKey("rosewood.test", "e", eddsa.generate_ed25519()),
    }


def pem(key: dkim.SigningKey) -> str:
    """A key as peers read it."""
    return private_keys.write_pem(key.private_key).decode()


def key_zone() -> dict[str, str]:
    """The records of the keys."""
    return {f"{key.selector}._domainkey.{key.domain}": key.record() for key in keys().values()}


def answers(question: Question) -> Answer:
    """Our view of the same records."""
    text = key_zone().get(question.name)
    found = (Txt((text.encode(),)),) if text and question.type == "TXT" else ()
    return Answer(question, Outcome.FOUND if found else Outcome.NO_NAME, found)


def messages(count: int = COUNT, seed: int = 7) -> Iterator[bytes]:
    """Messages of every shape that transport bears: folding, white space, blank lines, 8-bit, empty bodies, long lines."""
    chance = random.Random(seed)
    words = ["hedge", "rose", "garden", "Grüße", "a\tb", "x  y", "tab\t", "=20", ".", "..", "From here", "-- "]
    for number in range(count):
        lines = [
            " ".join(chance.choice(words) for _ in range(chance.randrange(12)))
            + chance.choice(["", "", " ", "\t ", "  "])
            for _ in range(chance.randrange(20))
        ]
        body = "\r\n".join(lines) + "\r\n" * chance.randrange(4)
        if number % 11 == 0:
            body = ""
        if number % 13 == 0:
            body += "x" * 900
        if body and not body.endswith("\r\n"):
            body += "\r\n"  # as SMTP delivers it; what signers make of a line without an end differs
        subject = chance.choice(["Hedge", "Re:  two   spaces", "folded\r\n\there", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", ""])
        fields = [
            f"From: Rose <rose@{chance.choice(['rosewood.test', 'mail.rosewood.test'])}>",
            f"To: ada@garden.test{chance.choice(['', ',', ''])}{chance.choice(['', chr(13) + chr(10) + ' bob@garden.test'])}"
            if number % 3
            else "To: ada@garden.test",
            f"Subject:{chance.choice(['', ' ', '  '])}{subject}",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000",
            f"Message-ID: <{number}@rosewood.test>",
        ]
        if number % 2:
            fields += ["MIME-Version: 1.0", 'Content-Type: text/plain;\r\n\tcharset="utf-8"', "X-Thing: odd"]
        if number % 5 == 0:
            fields += ["Received: from a by b; now", "Received: from c by d;\r\n\tthen", "List-Id: <l.rosewood.test>"]
        chance.shuffle(fields)
        yield ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


def changed(message: bytes) -> bytes:
    """The message with one letter of a signed field or the body other than it was."""
    return (
        message.replace(b"rosewood.test>", b"rosewood.tesu>", 1)
        if b"hedge" not in message
        else message.replace(b"hedge", b"wedge", 1)
    )


class Peer:
    """A peer process that answers JSON lines."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **task: Any) -> Any:
        """Send one task and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if isinstance(task.get("message"), bytes):
            task["message"] = task["message"].decode("latin-1")
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the peer ended"
        return json.loads(line)

    def close(self) -> None:
        """End the peer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def dkimpy() -> Iterator[Peer]:
    """dkimpy, in Debian's Python."""
    peer = Peer("/usr/bin/python3", str(PEERS / "python_peer.py"))
    peer.ask(verb="zone", zone=key_zone())
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def mailauth() -> Iterator[Peer]:
    """mailauth, in node."""
    peer = Peer("node", str(PEERS / "mailauth_peer.mjs"), str(MODULES.resolve()))
    peer.ask(verb="zone", zone={name: {"TXT": [[text]]} for name, text in key_zone().items()})
    yield peer
    peer.close()


def ours(message: bytes, now: int = NOW) -> list[str]:
    """Our results, one for each signature."""
    return [one.result.value for one in dkim.verify_blocking(answers, message, now).signatures]


def signed_by_us(number: int, message: bytes, algorithms: tuple[str, ...] = ("rsa-sha256", "ed25519-sha256")) -> bytes:
    """Sign with the canonicalizations in turn."""
    manner = dkim.Manner(*CANONICALIZATIONS[number % 4])
    return dkim.sign(message, tuple(keys()[one] for one in algorithms), NOW, manner) + message


def test_dkimpy_reads_ours(dkimpy: Peer) -> None:
    """Each message passes there, and its changed copy fails there as here."""
    for number, message in enumerate(messages()):
        for algorithm in keys():
            signed = signed_by_us(number, message, (algorithm,))
            assert dkimpy.ask(verb="verify", message=signed) is True, signed
            assert dkimpy.ask(verb="verify", message=changed(signed)) is not True
            assert ours(changed(signed)) == ["fail"]


def test_we_read_dkimpy(dkimpy: Peer) -> None:
    """What it signs passes here."""
    for number, message in enumerate(messages(seed=8)):
        algorithm = list(keys())[number % 2]
        key = keys()[algorithm]
        text = pem(key)
        if algorithm == "ed25519-sha256":  # dkimpy wants the seed in base64
            import base64

            raw = private_keys.public_der(key.private_key)
            assert raw
            from cryptography.hazmat.primitives import serialization

            seed = key.private_key.private_bytes(
                serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
            )
            text = base64.b64encode(seed).decode()
        header, body = CANONICALIZATIONS[number % 4]
        field = dkimpy.ask(
            verb="sign",
            message=message,
            selector=key.selector,
            domain=key.domain,
            key=text,
            canonicalization=[header.value, body.value],
            algorithm=algorithm,
        )
        assert not field.startswith("error"), field
        signed = field.encode("latin-1") + message
        assert ours(signed, int(time.time())) == ["pass"], signed  # it signs by its own clock, and this takes a while
        assert ours(changed(signed)) == ["fail"]


def test_mailauth_and_we_agree(mailauth: Peer) -> None:
    """Both ways, both algorithms, every canonicalization, changed copies too."""
    for number, message in enumerate(messages(seed=9)):
        signed = signed_by_us(number, message)
        assert mailauth.ask(verb="verify", message=signed, now=NOW) == ["pass", "pass"], signed
        assert "pass" not in mailauth.ask(verb="verify", message=changed(signed), now=NOW)
        algorithm = list(keys())[number % 2]
        key = keys()[algorithm]
        header, body = CANONICALIZATIONS[number % 4]
        fields = mailauth.ask(
            verb="sign",
            message=message,
            selector=key.selector,
            domain=key.domain,
            key=pem(key),
            algorithm=algorithm,
            canonicalization=[header.value, body.value],
            now=NOW,
        )
        assert not fields.startswith("error"), fields
        theirs = fields.encode("latin-1") + message
        assert ours(theirs) == ["pass"], theirs
        assert ours(changed(theirs)) == ["fail"]


@pytest.fixture
def opendkim(tmp_path: Path) -> Any:
    """OpenDKIM's library with our keys."""
    records = tmp_path / "records"
    records.write_text("".join(f"{name} {text}\n" for name, text in key_zone().items()))
    return LibOpenDkim(records)


def test_opendkim_and_we_agree(opendkim: Any) -> None:
    """Both ways with RSA, every canonicalization, changed copies too."""
    key = keys()["rsa-sha256"]
    for number, message in enumerate(messages(seed=10)):
        header, body = CANONICALIZATIONS[number % 4]
        signed = signed_by_us(number, message, ("rsa-sha256",))
        assert opendkim.verify(signed) == 0, signed
        assert opendkim.verify(changed(signed)) != 0
        theirs = opendkim.sign(message, pem(key), key.selector, key.domain, header.value, body.value) + message
        assert ours(theirs, int(time.time())) == ["pass"], theirs
        assert ours(changed(theirs), int(time.time())) == ["fail"]


def test_opendkim_the_program_reads_ours(tmp_path: Path) -> None:
    """opendkim in test mode; it drops white space after a field's colon, so the header is relaxed here."""
    records = tmp_path / "records"
    records.write_text("".join(f"{name} {text}\n" for name, text in key_zone().items()))
    configuration = tmp_path / "opendkim.conf"
    configuration.write_text(f"Mode v\nTestDNSData {records}\nMinimumKeyBits 1024\n")
    manner = dkim.Manner(body_canonicalization=dkim.Canonicalization.SIMPLE)
    for expected, alter in ((30, bytes), (0, changed)):
        files = []
        for number, message in enumerate(messages(count=30, seed=14)):
            path = tmp_path / f"{expected}-{number}.eml"
            path.write_bytes(alter(dkim.sign(message, (keys()["rsa-sha256"],), NOW, manner) + message))
            files.append(str(path))
        result = subprocess.run(
            ["opendkim", "-x", str(configuration), "-t", ",".join(files)], capture_output=True, text=True, timeout=60
        )
        assert (result.stdout + result.stderr).count("succeeded") == expected, result.stderr


def test_arc_with_dkimpy(dkimpy: Peer) -> None:
    """Chains alternate between us and dkimpy; each reads the whole."""
    key = keys()["rsa-sha256"]
    results = AuthenticationResults("lists.test", (MethodResult("dkim", "pass"),))
    for number, message in enumerate(messages(count=60, seed=12)):
        octets = signed_by_us(number, message, ("rsa-sha256",))
        for hop in range(4):
            if hop % 2:
                # dkimpy takes cv= from what the handler itself found
                found = b"Authentication-Results: lists.test; arc=pass; dkim=pass\r\n"
                field = dkimpy.ask(
                    verb="arc-sign",
                    message=found + octets,
                    selector=key.selector,
                    domain=key.domain,
                    key=pem(key),
                    authserv_id="lists.test",
                )
                assert not field.startswith("error"), field
                octets = field.encode("latin-1") + octets
            else:
                verdict = arc.validate_blocking(answers, octets, NOW)
                octets = arc.seal(octets, key, NOW, verdict, results) + octets
            assert arc.validate_blocking(answers, octets, NOW).result is arc.Result.PASS, octets
            assert dkimpy.ask(verb="arc-verify", message=octets) == "pass", octets
        assert dkimpy.ask(verb="arc-verify", message=changed(octets)) == "fail"
        assert arc.validate_blocking(answers, changed(octets), NOW).result is arc.Result.FAIL


def test_arc_with_mailauth(mailauth: Peer) -> None:
    """mailauth reads the chains we seal."""
    key = keys()["rsa-sha256"]
    results = AuthenticationResults("lists.test", (MethodResult("dkim", "pass"),))
    for number, message in enumerate(messages(count=60, seed=13)):
        octets = signed_by_us(number, message, ("rsa-sha256",))
        for _ in range(2):
            verdict = arc.validate_blocking(answers, octets, NOW)
            octets = arc.seal(octets, key, NOW, verdict, results) + octets
        found = mailauth.ask(
            verb="authenticate", message=octets, ip="192.0.2.1", helo="mx.test", mail_from="a@rosewood.test", now=NOW
        )
        assert found["arc"] == "pass", (found, octets)


SPF_ZONE: dict[str, list[Rdata]] = {
    "a.test": [Txt((b"v=spf1 ip4:192.0.2.0/24 include:b.test -all",))],
    "b.test": [Txt((b"v=spf1 a:h.test mx ~all",)), Mx(10, "h.test")],
    "h.test": [A("198.51.100.1")],
    "c.test": [Txt((b"v=spf1 redirect=a.test",))],
    "d.test": [Txt((b"v=spf1 exists:%{ir}.%{l}.l.test ?all",))],
    "1.2.0.192.rose.l.test": [A("127.0.0.2")],
    "e.test": [Txt((b"v=spf1 include:none.test -all",))],
    "f.test": [Txt((b"v=spf1 foo:bar -all",))],
    "g.test": [Txt((b"v=spf1 -all",)), Txt((b"v=spf1 +all",))],
    "loop.test": [Txt((b"v=spf1 include:loop.test -all",))],
}


def _spf_answers(question: Question) -> Answer:
    kinds = {"TXT": Txt, "A": A, "MX": Mx}
    records = SPF_ZONE.get(question.name)
    kind = kinds.get(question.type)
    found = tuple(one for one in records or () if kind is not None and isinstance(one, kind))
    absent = Outcome.NO_DATA if records else Outcome.NO_NAME
    return Answer(question, Outcome.FOUND if found else absent, found)


def test_spf_with_mailauth(mailauth: Peer) -> None:
    """The same result for each domain and address."""
    zone: dict[str, dict[str, Any]] = {}
    for name, records in SPF_ZONE.items():
        entry: dict[str, Any] = {"TXT": [], "A": [], "MX": []}
        for record in records:
            match record:
                case Txt():
                    entry["TXT"].append([record.joined.decode()])
                case A():
                    entry["A"].append(record.address)
                case Mx():
                    entry["MX"].append({"priority": record.preference, "exchange": record.exchange})
        zone[name] = {kind: values for kind, values in entry.items() if values}
    mailauth.ask(verb="zone", zone=zone)
    try:
        for domain, address in itertools.product(SPF_ZONE, ("192.0.2.1", "198.51.100.1", "203.0.113.1")):
            sender = f"rose@{domain}"
            theirs = mailauth.ask(verb="spf", ip=address, helo="mx.test", mail_from=sender)
            assert spf.check_blocking(_spf_answers, address, "mx.test", sender).result.value == theirs, (
                domain,
                address,
            )
    finally:
        mailauth.ask(verb="zone", zone={name: {"TXT": [[text]]} for name, text in key_zone().items()})


def _opendmarc() -> Callable[[str, str, dict[str, Any]], int]:
    """libopendmarc's verdict for a record and identifiers, without DNS."""
    library = ctypes.CDLL("libopendmarc.so.2")
    library.opendmarc_policy_connect_init.restype = ctypes.c_void_p

    def judge(author: str, record: str, found: dict[str, Any]) -> int:
        context = ctypes.c_void_p(library.opendmarc_policy_connect_init(b"192.0.2.1", 0))
        library.opendmarc_policy_store_from_domain(context, author.encode())
        codes = {"none": 0, "pass": 1, "fail": 2}
        library.opendmarc_policy_store_spf(context, found["spf"][1].encode(), codes[found["spf"][0]], 1, None)
        result, domain = found["dkim"]
        library.opendmarc_policy_store_dkim(context, domain.encode(), b"s", codes[result], None)
        library.opendmarc_policy_store_dmarc(context, record.encode(), author.encode(), None)
        verdict = library.opendmarc_get_policy_to_enforce(context)
        library.opendmarc_policy_connect_shutdown(context)
        return int(verdict)

    return judge


def test_dmarc_with_opendmarc() -> None:
    """Over 400 combinations of policy, alignment modes, results and domains: the same policy is to be enforced."""
    judge = _opendmarc()
    meaning = {15: "pass", 16: "reject", 17: "quarantine", 18: "none"}
    domains = ("rosewood.test", "mail.rosewood.test", "evil.test")
    identifiers = [(result, domain) for result in ("pass", "fail") for domain in domains]
    compared = 0
    for policy, mode in itertools.product(("none", "quarantine", "reject"), ("r", "s")):
        record = f"v=DMARC1; p={policy}; adkim={mode}; aspf={mode}"
        zone = {"_dmarc.rosewood.test": record}

        def answer(question: Question, zone: dict[str, str] = zone) -> Answer:
            text = zone.get(question.name)
            return Answer(
                question, Outcome.FOUND if text else Outcome.NO_NAME, (Txt((text.encode(),)),) if text else ()
            )

        for found_spf, found_dkim in itertools.product(identifiers, identifiers):
            theirs = meaning[judge("rosewood.test", record, {"spf": found_spf, "dkim": found_dkim})]
            verdict = dmarc.check_blocking(
                answer,
                "rosewood.test",
                dmarc.Identifier(found_spf[1], found_spf[0]),
                (dmarc.Identifier(found_dkim[1], found_dkim[0]),),
            )
            result = "pass" if verdict.result is dmarc.Result.PASS else verdict.disposition.value
            assert result == theirs, (record, found_spf, found_dkim)
            compared += 1
    assert compared == 216
