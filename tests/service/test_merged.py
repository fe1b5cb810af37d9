"""Metrics of several processes as one text, read by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agegender.service.merged import label_samples, merge_texts


def text(share: float) -> bytes:
    """Return metrics of all kinds, with values by ``share``, and labels that are hard to read."""
    registry = CollectorRegistry()
    Gauge("queue", "Photos\nthat wait", registry=registry).set(share)
    Counter("asked", "Requests", ["route"], registry=registry).labels('/a{b="c"},\\ \n}').inc(10 * share)
    lengths = Histogram("seconds", "Time", ["route"], buckets=(0.5, 1), registry=registry)
    lengths.labels("/").observe(share)
    return generate_latest(registry)


def samples(data: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_each_sample_says_whose_it_is() -> None:
    plain, labelled = samples(text(0.25)), samples(label_samples(text(0.25), "replica", "a1"))
    assert len(plain) == 7
    assert labelled == {
        (name, tuple(sorted((*labels, ("replica", "a1"))))): value for (name, labels), value in plain.items()
    }


def test_all_samples_below_one_head() -> None:
    parts = [label_samples(text(share), "replica", name) for share, name in ((0.25, "a"), (0.75, "b"))]
    merged = merge_texts(parts)
    assert samples(merged) == samples(parts[0]) | samples(parts[1])
    heads = [line for line in merged.decode().splitlines() if line.startswith("#")]
    assert len(heads) == len(set(heads))
    assert heads == [line for line in parts[0].decode().splitlines() if line.startswith("#")]
    families = [family.name for family in text_string_to_metric_families(merged.decode())]
    assert len(families) == len(set(families))


def test_nothing_to_merge() -> None:
    assert merge_texts([]) == b""
