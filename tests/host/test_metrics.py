"""The text that a monitoring system scrapes."""

from __future__ import annotations

from letterlock.host.metrics import Histogram, Metric, Sample, exposition


def test_a_metric_is_text() -> None:
    metric = Metric("m_total", "counter", "What\nit is.", (Sample(1, kind='a"b'), Sample(2.5)))
    assert exposition([metric]) == (
        b'# HELP m_total What\\nit is.\n# TYPE m_total counter\nm_total{kind="a\\"b"} 1\nm_total 2.5\n'
    )


def test_a_histogram_counts_up_to_each_bound() -> None:
    """What is at a bound counts for it; beyond all bounds there is +Inf."""
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1, 2, 3, 100):
        histogram.count(value)
    lines = exposition([histogram.metric("h_seconds", "Help.")]).decode().splitlines()
    assert lines == [
        "# HELP h_seconds Help.",
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{le="1"} 2',
        'h_seconds_bucket{le="2.5"} 3',
        'h_seconds_bucket{le="+Inf"} 5',
        "h_seconds_sum 106.5",
        "h_seconds_count 5",
    ]
