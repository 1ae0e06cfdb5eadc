"""Memory of processes that have nothing to do yet."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Row

_MB = 1e6


def idle(bench: Bench) -> list[Row]:
    """Proportional set sizes: what processes share counts once. Both parts were just started."""
    bench.server.start_workers(2)
    bench.server.start_api()
    taken = {name: [process.memory_full_info().pss / _MB for process in processes] for name, processes in bench.server.processes().items()}
    return [
        Row("idle API process, proportional set size", sum(taken["api"]), "MB", 75),
        Row("idle API and worker of two processes, all together", sum(map(sum, taken.values())), "MB", 150, details={"each": taken}),
        Row("idle worker, largest process", max(taken["worker"]), "MB", 60),
    ]
