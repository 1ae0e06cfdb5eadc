"""Memory of processes that have nothing to do yet, and of an API process that had much to do."""

from __future__ import annotations

import threading
import time
from itertools import cycle, islice, product

import httpx
import psutil

from benchmarks.bench import Bench
from benchmarks.loading import load
from benchmarks.report import Row
from benchmarks.server import route
from benchmarks.sessions import SessionPlan
from shared.settings import ApiSettings

_MB = 1e6
_CLIENTS = 8
_TASKS = 10_000
_READ = ("tasks?detail=1", "tasks", "tasks/timeline", "tasks/summarize", "tasks/summarize?summary_by=lineage", "actors?detail=1", "workers")
_ENCODINGS = ("identity", "gzip", "zstd")
# Of `Sizes.seconds`: a minute in full runs.
_LONGER = 15
# What a burst left goes back every few seconds.
_GIVEN_BACK = 12.0


def idle(bench: Bench) -> list[Row]:
    """Proportional set sizes: what processes share counts once. All parts were just started, and nothing else of ours runs meanwhile."""
    together = bench.server.measured_up(2, bench.directory / "up", lambda processes: sum(map(_pss, processes)))
    bench.server.start_workers(2)
    bench.server.start_api()
    taken = {name: list(map(_pss, processes)) for name, processes in bench.server.processes().items()}
    return [
        Row("idle `ray-history up` with two workers, all processes together", together, "MB", 170),
        Row("idle API process, proportional set size", sum(taken["api"]), "MB", 75),
        Row("idle API and worker of two processes, all together", sum(map(sum, taken.values())), "MB", 150, details={"each": taken}),
        Row("idle worker, largest process", max(taken["worker"]), "MB", 60),
    ]


def _pss(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / _MB


def after_a_burst(bench: Bench) -> list[Row]:
    """Eight clients read everything of a session, again and again, in every encoding: what is left of it is the cache."""
    session = bench.session(SessionPlan(_TASKS, jobs=2)).plan.session
    load(bench.server, session)
    bench.server.start_api()
    process = bench.server.api_process()
    base = process.memory_info().rss / _MB
    paths = [
        (route(session, f"api/v0/{path}{'&' if '?' in path else '?'}limit={_TASKS}"), coding) for path, coding in product(_READ, _ENCODINGS)
    ]
    until = time.monotonic() + _LONGER * bench.sizes.seconds
    counts: list[int] = []

    def read(first: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{bench.server.port}", trust_env=False, timeout=120) as client:
            count = 0
            for path, coding in islice(cycle(paths), first, None):
                if time.monotonic() > until:
                    break
                client.get(path, headers={"accept-encoding": coding}).raise_for_status()
                count += 1
            counts.append(count)

    # Each begins elsewhere.
    clients = [threading.Thread(target=read, args=(number * len(paths) // _CLIENTS,)) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    peak = base
    while any(client.is_alive() for client in clients):
        peak = max(peak, process.memory_info().rss / _MB)
        time.sleep(0.2)
    assert len(counts) == _CLIENTS, "a client failed"
    time.sleep(_GIVEN_BACK)
    left = process.memory_info().rss / _MB - base
    cache = ApiSettings().block_cache / _MB
    details = {"base_mb": base, "cache_mb": cache, "peak_mb": peak, "requests": sum(counts)}
    return [
        Row(f"API process after 8 clients read everything of {_TASKS:,} tasks, more than before", left, "MB", cache + 60, details=details)
    ]
