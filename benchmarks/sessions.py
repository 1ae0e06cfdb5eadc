"""Synthetic sessions of any size, made from recorded events: generated once into a directory, the same bytes for the same plan.

    python -m benchmarks.sessions --tasks 100000 [--jobs 8] [--gz] [--directory DIR]

Besides them the directory holds the recorded sessions, in one bucket, so one server serves them all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.event_writer import EventWriter, Written
from benchmarks.recorded_events import read_recorded
from benchmarks.synthetic_cluster import NODE_EVENTS, SESSION, make_nodes, node_events
from benchmarks.synthetic_jobs import JobPlan, make_job
from shared.sessions import Session
from tests.data.recorded import unpack

# Raise it when what the modules make changes: sessions generated before are then made anew.
_VERSION = 1
_NAMESPACE = "bench"
_CPUS = 8


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What to make. Tasks are shared out evenly among jobs; with one node, everything runs on the head."""

    tasks: int
    jobs: int = 8
    nodes: int = 6
    gz: bool = False
    file_bytes: int = 20_000_000
    seed: int = 1

    @property
    def name(self) -> str:
        """The cluster's name."""
        parts = [f"tasks-{self.tasks}", f"jobs-{self.jobs}", f"nodes-{self.nodes}", f"files-{self.file_bytes}", f"seed-{self.seed}"]
        return "-".join(parts + ["gz"] * self.gz)

    @property
    def session(self) -> Session:
        return Session(_NAMESPACE, self.name, SESSION)

    @property
    def job_plans(self) -> list[JobPlan]:
        shares = [len(range(n, self.tasks, self.jobs)) for n in range(self.jobs)]
        return [JobPlan(n, share, max(1, share // 500), self.seed, self.file_bytes, self.gz) for n, share in enumerate(shares)]


@dataclass(frozen=True, slots=True)
class SyntheticSession:
    """A session on disk, and what its reader must come to. `events` counts events, `bytes` those of unpacked event files."""

    plan: SessionPlan
    directory: Path
    attempts: int
    attempts_by_job: dict[str, int]
    states: dict[str, int]
    events: int
    files: int
    bytes: int
    disk_bytes: int

    @property
    def event_files(self) -> list[Path]:
        return sorted(path for path in self.directory.rglob("*.jsonl*") if path.is_file())


def ensure(plan: SessionPlan, root: Path, processes: int | None = None) -> SyntheticSession:
    """The session, generated unless it is there. `root` is the bucket."""
    directory = root / "cluster-history" / "raycluster" / _NAMESPACE / plan.name / SESSION
    stamp = root.parent / f"{plan.name}.json"
    wanted = {"version": _VERSION, **asdict(plan)}
    if stamp.exists():
        known = json.loads(stamp.read_text())
        if known["plan"] == wanted and directory.exists():
            return SyntheticSession(plan, directory, **known["made"])
    stamp.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    made = _generate(plan, directory, processes or os.cpu_count() or 1)
    marker = root / "cluster-metadata" / "raycluster" / f"{_NAMESPACE}_{plan.name}" / SESSION
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    stamp.write_text(json.dumps({"plan": wanted, "made": made}))
    return SyntheticSession(plan, directory, **made)


RICH = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")
"""The largest recorded session: 2,172 events in 57 files."""
SMALL = Session("default", "raycap", "session_2026-11-23_19-07-13_553337_1")
"""The smallest of the same cluster: 265 events in 11 files."""


def ensure_recorded(root: Path) -> Session:
    """The recorded sessions in the same bucket; returns the largest, of some 2,000 events."""
    session = RICH
    if not (root / "cluster-metadata" / "raycluster" / "default_raycap" / session.session).exists():
        unpacked = unpack(root.parent / "recorded", "bucket")
        shutil.copytree(unpacked / "bucket", root, dirs_exist_ok=True)
        shutil.rmtree(unpacked)
    return session


def _generate(plan: SessionPlan, directory: Path, processes: int) -> dict[str, Any]:
    recorded = read_recorded()
    random = Random(f"{plan.seed}/cluster")
    nodes = make_nodes(plan.nodes, random)
    head = nodes[0]
    with ProcessPoolExecutor(min(processes, plan.jobs)) as pool:
        making = [pool.submit(make_job, job, nodes, recorded, directory) for job in plan.job_plans]
        jobs = [future.result() for future in making]
    of_nodes = node_events(nodes, _CPUS, recorded, random)
    writer = EventWriter(directory, plan.file_bytes, gz=plan.gz)
    for event in sorted([*of_nodes, *(event for job in jobs for event in job.node_events)], key=lambda event: event.when):
        writer.put(event.node, NODE_EVENTS, event.when, event.line)
    written = Written()
    for one in [writer.close(), *(job.written for job in jobs)]:
        written += one
    log = directory / head.hex / "logs" / "events" / "event_JOBS.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(event) + "\n" for job in jobs for event in job.log_events))
    for name, answer in recorded.endpoints.items():
        path = directory / "fetched_endpoints" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(answer)
    states: Counter[str] = sum((job.states for job in jobs), Counter())
    return {
        "attempts": sum(job.attempts for job in jobs),
        "attempts_by_job": {job.job: job.attempts for job in jobs},
        "states": dict(sorted(states.items())),
        "events": sum(job.events for job in jobs) + len(of_nodes),
        "files": written.files,
        "bytes": written.bytes,
        "disk_bytes": written.disk_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--file-bytes", type=int, default=20_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gz", action="store_true")
    parser.add_argument("--directory", type=Path, default=Path(".bench"), help="the bucket is the folder `bucket` in it")
    given = vars(parser.parse_args())
    root = given.pop("directory") / "bucket"
    began = time.perf_counter()
    made = ensure(SessionPlan(**given), root)
    took = time.perf_counter() - began
    print(f"{made.plan.session.ref}: {made.attempts} attempts, {made.events} events, {made.files} files, {made.bytes} bytes, {took:.1f} s")


if __name__ == "__main__":
    main()
