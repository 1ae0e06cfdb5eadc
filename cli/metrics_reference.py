"""`ray-history metrics`: the page about every metric, from their declarations; `make docs` writes it to docs/metrics.md."""

from __future__ import annotations

from itertools import groupby

from shared.metrics import DECLARED, Metric

_INTRODUCTION = """\
# Metrics

In Prometheus' text format at `/metrics` of every API process (its own port) and of every worker (`RAY_HISTORY_WORKER_PORT`).
Several processes of one API or worker count into files that they share (in `PROMETHEUS_MULTIPROC_DIR`, or the directory for
temporary files), so one page adds them up. Counters of worker processes that ended still count; gauges of theirs do not.
What is *looked up* is read from Redis when the page is asked for, and is the same in every API process: take `max`, not `sum`.

Histograms have `_bucket`, `_sum` and `_count`. What to watch, with queries: [operate.md](operate.md#what-to-watch).

Written by `make docs` from `shared/metrics.py`: change it there.
"""


def metrics() -> None:
    """Print what every metric means, as Markdown."""
    print(reference_page(), end="")


def reference_page() -> str:
    """docs/metrics.md: one table per exporter."""
    parts = [_INTRODUCTION]
    for who, found in groupby(sorted(DECLARED, key=lambda metric: _ORDER.index(metric.who)), key=lambda metric: metric.who):
        parts.append(f"\n## {_TITLES[who]}\n\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |")
        parts += [_row(metric) for metric in found]
    return "\n".join(parts) + "\n"


_TITLES = {"api": "API", "worker": "Workers", "api, worker": "API and workers"}
_ORDER = list(_TITLES)


def _row(metric: Metric) -> str:
    kind = f"{metric.kind}, looked up" if metric.looked_up else metric.kind
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {kind} | {labels} | {metric.meaning} |"
