"""Generated sessions, and what every answer about them must be."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from benchmarks.sessions import SessionPlan, SyntheticSession, ensure

Size = Literal["small", "fan-out"]
NAMESPACE = "soak"
# A small session is one task of one process; a fan-out one is cut into about four parts and as many ranges (PART_BYTES, RANGE_TASKS of the stack).
PLANS: dict[Size, SessionPlan] = {
    "small": SessionPlan(tasks=40, jobs=2, nodes=3, file_bytes=40_000),
    "fan-out": SessionPlan(tasks=200, jobs=3, nodes=3, file_bytes=60_000, seed=2),
}
TASKS = "api/v0/tasks?detail=1&limit=10000&exclude_driver=false"
PATHS = (
    TASKS,
    "api/v0/tasks?limit=7&detail=1",
    "api/v0/tasks?detail=1&limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=FAILED",
    "api/v0/tasks/summarize",
    "api/v0/tasks/summarize?summary_by=lineage&filter_keys=job_id&filter_predicates=%3D&filter_values=02000000",
    "api/v0/tasks/timeline",
    "api/v0/actors?detail=1&limit=10000",
    "api/v0/nodes?detail=1&limit=10000",
    "api/v0/workers?detail=1&limit=10000",
    "logical/actors",
    "api/jobs/",
)


@dataclass(frozen=True, slots=True)
class Truth:
    """`files` and `attempts` are what the generator wrote; `digests` those of whole answers, by path."""

    files: int
    attempts: int
    digests: dict[str, str]

    def wrong(self, path: str, body: bytes) -> str:
        """What is wrong with a complete answer; empty for nothing."""
        if path not in self.digests or digest(body) == self.digests[path]:
            return ""
        return f"{path}: {described(body)} instead of {self.attempts} attempts in all"


def generate(directory: Path) -> dict[Size, SyntheticSession]:
    """Both sessions below `directory`; they stay there for the next time."""
    return {size: ensure(plan, directory / "generated") for size, plan in PLANS.items()}


def learn(made: SyntheticSession, answers: dict[str, httpx.Response]) -> Truth:
    """From the answers after an undisturbed load, which must agree with what the generator wrote."""
    refused = {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200}
    assert not refused, refused
    rows = answers[TASKS].json()["data"]["result"]
    by_job = Counter(row["job_id"] for row in rows["result"])
    finished = sum(row["state"] == "FINISHED" for row in rows["result"])
    assert rows["total"] == made.attempts, f"{rows['total']} attempts instead of {made.attempts}"
    assert (by_job, finished) == (made.attempts_by_job, made.states["FINISHED"]), f"{by_job}, {finished} finished"
    return Truth(made.files, made.attempts, {path: digest(answer.content) for path, answer in answers.items()})


def copy(made: SyntheticSession, bucket: Path, cluster: str) -> str:
    """The session as one of `cluster` in a bucket, its files hard links; returns its reference."""
    session = made.directory.name
    target = bucket / "cluster-history" / "raycluster" / NAMESPACE / cluster / session
    for file in made.directory.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(made.directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, place)
    marker = bucket / "cluster-metadata" / "raycluster" / f"{NAMESPACE}_{cluster}" / session
    marker.parent.mkdir(parents=True)
    marker.touch()
    return f"{NAMESPACE}/raycluster/{cluster}/{session}"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def described(body: bytes) -> str:
    """An answer in a few words."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return f"no JSON ({len(body)} bytes)"
    if isinstance(found, dict) and isinstance(found.get("data"), dict) and isinstance(found["data"].get("result"), dict):
        result = found["data"]["result"]
        rows = result.get("result")
        return f"total {result.get('total')}, {len(rows) if isinstance(rows, list) else '?'} rows, {len(body)} bytes"
    return f"{len(body)} bytes"
