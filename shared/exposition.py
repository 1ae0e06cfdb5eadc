"""The metrics page of one API or worker, added up over its processes."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared.metrics_files import forget_dead, shared_directory


def page(looked_up: Iterable[tuple[str, str, float]] = ()) -> tuple[bytes, str]:
    """Prometheus' text format, and its content type. `looked_up`: (name, meaning, value) of gauges that are not counted here."""
    registry = REGISTRY
    if directory := shared_directory():
        forget_dead(directory)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    found = CollectorRegistry()
    for name, meaning, value in looked_up:
        found.register(_Once(GaugeMetricFamily(name, meaning, value)))
    return generate_latest(registry) + generate_latest(found), CONTENT_TYPE_LATEST


class _Once(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]
