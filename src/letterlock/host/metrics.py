"""Figures as a monitoring system reads them: the text format of Prometheus, version 0.0.4.

    exposition([Metric("letterlock_connections", "gauge", "Open connections.", (Sample(3, service="imaps"),))])

A few lines of text need no library, and no registry that lives as long as the process: whoever answers a request makes
the figures of that moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, init=False)
class Sample:
    """One figure, told from the others of its metric by labels."""

    value: float
    labels: tuple[tuple[str, str], ...]

    def __init__(self, value: float, **labels: str) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "labels", tuple(labels.items()))


@dataclass(frozen=True, slots=True)
class Metric:
    """Figures of one kind. A counter's name ends in `_total`; units are seconds and octets (`_bytes`)."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[Sample, ...]


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as the text that is scraped."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
        for sample in metric.samples:
            labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
            lines.append(f"{metric.name}{{{labels}}} {_number(sample.value)}" if labels else
                         f"{metric.name} {_number(sample.value)}")  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
