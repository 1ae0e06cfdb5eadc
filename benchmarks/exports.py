"""Exports: how fast a whole large table leaves as a file, and what that takes of the API's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import httpx
import psutil

from benchmarks.bench import Bench
from benchmarks.reads import ensure_loaded
from benchmarks.report import Row

_MB = 1e6
_SAMPLE = 0.05
_TIMEOUT = 600.0


def parquet_of_tasks(bench: Bench) -> list[Row]:
    """Every task of the large session, with all columns, from an API process that has made no export before."""
    large = bench.large()
    ensure_loaded(bench, large.plan.session)
    bench.server.start_api()
    url = f"http://127.0.0.1:{bench.server.port}/sessions/{large.plan.session.ref}/export?what=tasks&format=parquet"
    file = bench.directory / "tasks.parquet"
    process = bench.server.api_process()
    before = process.memory_info().rss
    began = time.perf_counter()
    with _sampled(process) as peak:
        size = _download(url, file)
    seconds = time.perf_counter() - began
    ((rows,),) = duckdb.connect().execute(f"SELECT count(*) FROM '{file}'").fetchall()
    assert rows == large.attempts, (rows, large.attempts)
    details = {"rows": rows, "seconds": round(seconds, 2), "bytes": size, "rss_before": before, "rss_peak": peak[0]}
    named = f"all {large.plan.tasks:,} tasks as Parquet"
    return [
        Row(f"{named}: memory that it adds to the API process", (peak[0] - before) / _MB, "MB", 150, details=details),
        Row(f"{named}: time for 100,000 rows", seconds * 100_000 / rows, "s", 5, details={"bytes": size}),
    ]


def _download(url: str, file: Path) -> int:
    with httpx.stream("GET", url, timeout=_TIMEOUT) as answer, file.open("wb") as written:
        answer.raise_for_status()
        for piece in answer.iter_bytes():
            written.write(piece)
        return written.tell()


@contextmanager
def _sampled(process: psutil.Process) -> Iterator[list[int]]:
    """The largest resident set seen meanwhile, in bytes."""
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
