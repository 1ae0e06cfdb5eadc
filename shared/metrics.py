"""Every metric of the product, declared once: name, labels, what it says, and who exports it. `docs/metrics.md` is generated from here.

Counters and histograms add up over all processes of one machine's API or worker (`shared/exposition.py`). What only Redis knows is not
counted but looked up when somebody asks for the page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from shared.errors import HistoryError, ObjectNotFound

Who = Literal["api", "worker", "api, worker"]

PREFIX = "ray_history_"
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


@dataclass(frozen=True, slots=True)
class Metric:
    """A declaration. `kind`: counter, histogram or gauge; `looked_up`: its value is read when the page is asked for."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    who: Who
    looked_up: bool = False


DECLARED: list[Metric] = []


def _declare(name: str, kind: str, labels: Sequence[str], meaning: str, who: Who, *, looked_up: bool = False) -> Metric:
    DECLARED.append(Metric(PREFIX + name, kind, tuple(labels), meaning, who, looked_up))
    return DECLARED[-1]


def _counter(name: str, meaning: str, *labels: str, who: Who) -> Counter:
    _declare(name, "counter", labels, meaning, who)
    return Counter(PREFIX + name, meaning, labels)


def _histogram(name: str, meaning: str, *labels: str, who: Who, buckets: Sequence[float] = _QUICK) -> Histogram:
    _declare(name, "histogram", labels, meaning, who)
    return Histogram(PREFIX + name, meaning, labels, buckets=buckets)


def _gauge(name: str, meaning: str, *, who: Who) -> Gauge:
    _declare(name, "gauge", (), meaning, who)
    return Gauge(PREFIX + name, meaning, multiprocess_mode="livesum")


def _looked_up(name: str, meaning: str) -> Metric:
    return _declare(name, "gauge", (), meaning, "api", looked_up=True)


# Requests
REQUEST_SECONDS = _histogram(
    "request_seconds", "Time to the end of an answer, in seconds; streams count whole.", "method", "route", "status", who="api"
)
CLAIMS = _counter(
    "claims_total",
    "Visits of dead sessions by what they found: won (this visit starts the load), joined (a load is under way), loaded, refused (the "
    "last load failed and may not be tried again yet).",
    "outcome",
    who="api",
)
CACHE_READS = _counter("cache_reads_total", "Looks into the cache of snapshot blocks and answers: hit or miss.", "result", who="api")
CACHE_BYTES = _gauge("cache_bytes", "Bytes in the cache of snapshot blocks and answers.", who="api")

# Loads
LOADS = _counter(
    "loads_total",
    "Loads that ended, by result: complete, partial (some files could not be read), failed (code says why), given_up (the claim is "
    "another's by now).",
    "result",
    "code",
    who="worker",
)
LOAD_SECONDS = _histogram("load_seconds", "Time from the claim to the published snapshot, in seconds.", who="worker", buckets=_LONG)
PHASE_SECONDS = _histogram(
    "phase_seconds",
    "Time of one phase of a load in one task, in seconds: listing, parsing, merging, summarising, publishing.",
    "phase",
    who="worker",
    buckets=_LONG,
)
QUEUE_WAIT = _histogram("queue_wait_seconds", "Time from the claim to the first work on the load, in seconds.", who="worker", buckets=_LONG)
TAKEOVERS = _counter(
    "takeovers_total",
    "Loads that were begun again because who had them was lost: by the next visit after the claim's lease ran out (api), or by the worker "
    "that was given the task again (worker).",
    "by",
    who="api, worker",
)
EVENT_FILES = _counter("event_files_total", "Event files by result: read or failed.", "result", who="worker")
EVENT_BYTES = _counter("event_bytes_total", "Stored bytes of event files that were read.", who="worker")
EVENTS = _counter("events_total", "Events that were taken from event files.", who="worker")
EVENTS_SKIPPED = _counter("events_skipped_total", "Events and lines that could not be used.", who="worker")
LOST_FILES = _counter("lost_files_total", "Files that stayed unreadable and make a snapshot partial, by error code.", "code", who="worker")
SNAPSHOT_WRITTEN = _counter("snapshot_written_bytes_total", "Bytes of snapshots written to Redis.", who="worker")
EVICTIONS = _counter(
    "evictions_total",
    "Snapshots that are gone: budget (least recently used, to make room), expired (not used for too long), asked (by DELETE).",
    "reason",
    who="api, worker",
)

# Queue
TASK_SECONDS = _histogram(
    "task_seconds", "Time of one task, in seconds, by its name and Celery's state at its end.", "task", "state", who="worker", buckets=_LONG
)
TASKS_RUNNING = _gauge("tasks_running", "Tasks that this worker's processes work on.", who="worker")
WORKER_PROCESSES = _gauge("worker_processes", "Processes of this worker that take tasks.", who="worker")
QUEUE_DEPTH = _looked_up("queue_depth", "Tasks that wait in the queue. The same in every API replica: take the maximum.")
QUEUE_TAKEN = _looked_up("queue_taken", "Tasks that workers have taken and not finished. The same in every API replica: take the maximum.")

# What Redis holds
REDIS_UP = _looked_up("redis_up", "1 when Redis answered just now, 0 when it did not; what it holds is left out then.")
SNAPSHOTS = _looked_up("snapshots", "Snapshots in Redis, those that are being written included.")
SNAPSHOT_BYTES = _looked_up("snapshot_bytes", "Bytes of all snapshots in Redis, as the budget counts them.")
SNAPSHOT_BUDGET = _looked_up("snapshot_budget_bytes", "RAY_HISTORY_SNAPSHOT_BUDGET.")

# Index of jobs
JOB_LOOKS = _counter(
    "job_looks_total",
    "Looks at stored sessions for the index of jobs, by result: changed, unchanged, removed (the session is gone from the bucket), failed.",
    "result",
    who="worker",
)
JOB_PASS_SECONDS = _histogram(
    "job_pass_seconds", "Time of one pass over the bucket for the index of jobs, in seconds.", who="worker", buckets=_LONG
)

# Retention
RETENTION_SESSIONS = _counter(
    "retention_sessions_total",
    "Old sessions by what became of them: deleted, kept (it runs, or a job failed), failed.",
    "result",
    who="worker",
)
RETENTION_BYTES = _counter("retention_bytes_total", "Bytes of deleted sessions.", who="worker")

# What we ask of others
STORAGE_SECONDS = _histogram(
    "storage_call_seconds",
    "Time of one call of the object store, retries included, in seconds, by operation and result: ok, absent or failed. "
    "read_many counts each object, without the wait for it that reading ahead saves.",
    "operation",
    "result",
    who="api, worker",
)
STORAGE_BYTES = _counter("storage_read_bytes_total", "Bytes that were read from the object store.", who="api, worker")
STORAGE_RETRIES = _counter("storage_retries_total", "Attempts of storage calls that failed and may pass.", who="api, worker")
REDIS_SECONDS = _histogram(
    "redis_call_seconds",
    "Time of one Redis command or pipeline, retries included, in seconds, by command and result: ok or failed.",
    "command",
    "result",
    who="api, worker",
)
KUBERNETES_SECONDS = _histogram(
    "kubernetes_call_seconds",
    "Time of one call of the Kubernetes API, in seconds, by operation and result: ok or failed.",
    "operation",
    "result",
    who="api, worker",
)
KUBERNETES_WATCHES = _counter(
    "kubernetes_watches_total",
    "Watches of running clusters by how they ended: ended (after their time), expired (listed anew), failed.",
    "result",
    who="api",
)
KUBERNETES_AGE = _looked_up("kubernetes_listing_age_seconds", "Age of the listing of running clusters: 0 while the watch works.")
HEAD_CALLS = _counter(
    "head_calls_total", "Questions to a head which session it runs, by result: named or unknown.", "result", who="api, worker"
)


@contextmanager
def timed(seconds: Histogram, operation: str) -> Iterator[None]:
    """Observe one call with the labels (operation, result)."""
    began, result = time.perf_counter(), "failed"
    try:
        yield
        result = "ok"
    except ObjectNotFound:
        result = "absent"
        raise
    finally:
        seconds.labels(operation, result).observe(time.perf_counter() - began)


_OF_PROGRESS = {
    "files_read": EVENT_FILES.labels("read"),
    "files_failed": EVENT_FILES.labels("failed"),
    "bytes_read": EVENT_BYTES,
    "events": EVENTS,
    "events_skipped": EVENTS_SKIPPED,
}


def count_progress(counts: dict[str, int]) -> None:
    """What a load adds to its status, it adds to the metrics."""
    for name, amount in counts.items():
        if amount and name in _OF_PROGRESS:
            _OF_PROGRESS[name].inc(amount)


def count_failed(error: HistoryError | str) -> None:
    """A load ended without a snapshot: by a domain error, or by its code."""
    LOADS.labels("failed", error if isinstance(error, str) else error.code).inc()
