"""Figures as a monitoring system reads them: the text format of Prometheus, version 0.0.4.

    exposition([Metric("letterlock_connections", "gauge", "Open connections.", (Sample(3, service="imaps"),))])

A few lines of text need no library, and no registry that lives as long as the process: whoever answers a request makes
the figures of that moment.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, init=False)
class Sample:
    """One figure, told from the others of its metric by labels, and by what is put behind the name (of histograms)."""

    value: float
    labels: tuple[tuple[str, str], ...]
    suffix: str

    def __init__(self, value: float, suffix: str = "", /, **labels: str) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "labels", tuple(labels.items()))
        object.__setattr__(self, "suffix", suffix)


@dataclass(frozen=True, slots=True)
class Metric:
    """Figures of one kind. A counter's name ends in `_total`; units are seconds and octets (`_bytes`)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


class Histogram:
    """Counts values by size. `bounds` are the upper ends of the buckets, ascending; what is beyond has a bucket too."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def count(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def metric(self, name: str, help_text: str) -> Metric:
        """Return the figures so far."""
        totals = list(itertools.accumulate(self._counts))
        ends = [*map(_number, self._bounds), "+Inf"]
        buckets = [Sample(total, "_bucket", le=end) for end, total in zip(ends, totals, strict=True)]
        return Metric(name, "histogram", help_text, (*buckets, Sample(self._sum, "_sum"), Sample(totals[-1], "_count")))


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as the text that is scraped."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
        for sample in metric.samples:
            labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
            name = metric.name + sample.suffix
            lines.append(f"{name}{{{labels}}} {_number(sample.value)}" if labels else f"{name} {_number(sample.value)}")
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
