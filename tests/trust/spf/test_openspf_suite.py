"""The OpenSPF suite for RFC 7208, whole: results and explanation texts."""

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Aaaa, Mx, Ptr, Rdata, Txt
from letterlock.trust import spf
from letterlock.trust.ask import decide

VECTORS = Path(os.environ.get("LETTERLOCK_VECTORS", "../shared/vectors")) / "openspf" / "rfc7208-tests.yml"


def _cases() -> list[Any]:
    # The file is Latin-1 in spirit: its escapes stand for octets
    documents = list(yaml.safe_load_all(VECTORS.read_text(encoding="utf-8")))
    return [
        pytest.param(case, document["zonedata"], id=f"{document['description']}-{name}".replace(" ", "_"))
        for document in documents
        for name, case in document["tests"].items()
    ]


def _octets(text: str) -> bytes:
    return text.encode("latin-1")


def _txt(value: Any) -> Txt:
    return Txt(tuple(_octets(part) for part in ([value] if isinstance(value, str) else value)))


def _rdata(type_: str, value: Any) -> Rdata:
    match type_:
        case "TXT":
            return _txt(value)
        case "A":
            return A(value)
        case "AAAA":
            return Aaaa(str(ipaddress.ip_address(value)))
        case "MX":
            return Mx(value[0], value[1].lower().removesuffix("."))
        case "PTR":
            return Ptr(value.removesuffix("."))
        case _:
            raise AssertionError(type_)


def _zone(data: dict[str, list[Any]]) -> Callable[[Question], Answer]:
    names = {name.lower(): entries for name, entries in data.items()}

    def answer(question: Question) -> Answer:
        return look_up(question, question.name, 0)

    def look_up(question: Question, name: str, hops: int) -> Answer:
        entries = names.get(name)
        if entries is None:
            return Answer(question, Outcome.NO_NAME)
        named = [(key, value) for entry in entries if isinstance(entry, dict) for key, value in entry.items()]
        has_txt = any(key == "TXT" for key, _ in named)
        records = []
        for key, value in named:
            # The suite means its SPF records to be published as TXT, unless the name has TXT of its own
            kind = "TXT" if key == "SPF" and not has_txt else key
            if kind == "CNAME":
                if hops > 8:
                    return Answer(question, Outcome.FAILED, reason="a loop of CNAME records")
                return look_up(question, value.lower().removesuffix("."), hops + 1)
            if kind == question.type and value != "NONE":
                records.append(_rdata(kind, value))
        if not records and "TIMEOUT" in entries:
            return Answer(question, Outcome.FAILED, reason="timeout")
        return Answer(question, Outcome.FOUND if records else Outcome.NO_DATA, tuple(records))

    return answer


@pytest.mark.parametrize(("case", "zone"), _cases())
def test_openspf(case: dict[str, Any], zone: dict[str, list[Any]]) -> None:
    """The result is one the suite allows, and the explanation is the one it expects."""
    verdict = decide(
        spf.judge(case["host"], case["helo"], case["mailfrom"], receiver="receiver.example", now=1_400_000_000),
        _zone(zone),
    )
    expected = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert verdict.result.value in expected, verdict
    if "explanation" in case:
        assert verdict.explanation == case["explanation"].replace("DEFAULT", "")


def test_the_suite_is_whole() -> None:
    """The suite has 203 cases."""
    assert len(_cases()) == 203
