"""One cold load as a client sees it: from entering a session to its loaded marker, with its phases and the memory it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import psutil

from benchmarks.server import Server, now_ms
from shared.sessions import Session
from shared.store.load_report import read_reports

_TIMEOUT = 900.0
_POLL = 0.01
_SAMPLE = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds as a whole and by phase, what was read, and the largest resident set that any worker process had, in bytes."""

    seconds: float
    phases: dict[str, float]
    bytes_read: int
    events: int
    peak_rss: int
    snapshot: str
    engine: str

    def details(self) -> dict[str, Any]:
        phases = {name: round(seconds, 3) for name, seconds in self.phases.items()}
        return {
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "phases": phases,
            "bytes_read": self.bytes_read,
            "events": self.events,
        }


def load(server: Server, session: Session) -> Load:
    """Evict the session if it is loaded, enter it, and wait. Raises AssertionError when the load fails."""
    server.evict(session)
    processes = server.worker_processes()
    _reset_peaks(processes)
    with _sampled(processes) as peak, server.connect() as connection:
        began = now_ms()
        entered = connection.get(f"/enter_cluster/{session.ref}")
        assert entered.status == 202, (entered.status, entered.body)
        seen = _watch(server, session)
    keys = server.keyspace.session(session.key)
    status = _hash(server, keys.status)
    assert status["state"] == "loaded", status
    report = read_reports(cast("dict[bytes, bytes]", server.redis.hgetall(keys.progress(status["id"]))))
    counts, engine = report.counts, str(report.said["engine"])
    # The loaded marker is set at this time, on the same clock: no poll's pause is in it.
    ended = float(status["finished_at"])
    times = [*seen, ("", ended)]
    phases: dict[str, float] = {}
    for (name, start), (_, end) in pairwise(times):
        phases[name] = phases.get(name, 0) + max(0.0, end - start) / 1000
    return Load((ended - began) / 1000, phases, counts["bytes_read"], counts["events"], max(peak), status["id"], engine)


def snapshot_bytes(server: Server, session: Session, snapshot: str) -> int:
    """What Redis needs for the whole snapshot, overhead included."""
    return int(cast("int", server.redis.memory_usage(server.keyspace.session(session.key).snapshot(snapshot), samples=0)))


def is_loaded(server: Server, session: Session) -> bool:
    """Raises AssertionError when its load failed."""
    state = _hash(server, server.keyspace.session(session.key).status).get("state")
    assert state != "failed"
    return state == "loaded"


def _watch(server: Server, session: Session) -> list[tuple[str, float]]:
    """Phases and when (ms) each was first seen; straight from Redis, so that no API process works for it."""
    seen: list[tuple[str, float]] = [("queued", now_ms())]
    deadline = time.monotonic() + _TIMEOUT
    keys = server.keyspace.session(session.key)
    while time.monotonic() < deadline:
        if _hash(server, keys.status).get("state") in ("loaded", "failed"):
            return seen
        load = _hash(server, keys.load)
        phase = server.redis.hget(keys.progress(f"{load.get('generation')}.{load.get('attempt')}"), "phase")
        name = cast("bytes | None", phase)
        if name and name.decode() != seen[-1][0]:
            seen.append((name.decode(), now_ms()))
        time.sleep(_POLL)
    raise AssertionError(f"{session.ref} was not loaded in {_TIMEOUT:.0f} s")


def _hash(server: Server, key: str) -> dict[str, str]:
    raw = cast("dict[bytes, bytes]", server.redis.hgetall(key))
    return {name.decode(): value.decode(errors="replace") for name, value in raw.items()}


@contextmanager
def _sampled(processes: list[psutil.Process]) -> Iterator[list[int]]:
    """Peaks of the processes' resident sets while inside; complete afterwards."""
    peaks, done = [0], threading.Event()

    def sample() -> None:
        while True:
            last = done.wait(_SAMPLE)
            for process in processes:
                peaks[0] = max(peaks[0], _peak_rss(process))
            if last:
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _peak_rss(process: psutil.Process) -> int:
    """Bytes: on Linux the most since the last reset, elsewhere at this moment."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
        return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)


def _reset_peaks(processes: list[psutil.Process]) -> None:
    for process in processes:
        file = Path(f"/proc/{process.pid}/clear_refs")
        if file.exists():
            file.write_text("5")
