"""The benchmarks' synthetic sessions: the same plan gives the same bytes, and what a load must find in them is what they say."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

from benchmarks.sessions import SessionPlan, SyntheticSession, ensure


def _content(session: SyntheticSession) -> dict[str, str]:
    files = sorted(path for path in session.directory.rglob("*") if path.is_file())
    return {str(path.relative_to(session.directory)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_plan_gives_the_same_bytes_again_whatever_the_number_of_processes(tmp_path: Path) -> None:
    plan = SessionPlan(tasks=120, jobs=2, nodes=3)
    first, again = ensure(plan, tmp_path / "a" / "bucket", processes=1), ensure(plan, tmp_path / "b" / "bucket", processes=2)
    assert _content(first) == _content(again)
    other = ensure(SessionPlan(tasks=120, jobs=2, nodes=3, seed=2), tmp_path / "a" / "bucket")
    assert _content(other) != _content(first)


def test_a_session_holds_what_it_says(tmp_path: Path) -> None:
    plan = SessionPlan(tasks=150, jobs=3, nodes=2, gz=True, file_bytes=30_000)
    session = ensure(plan, tmp_path / "bucket")
    texts = [gzip.decompress(path.read_bytes()) for path in session.event_files]
    events = [json.loads(line) for text in texts for line in text.splitlines()]
    assert (len(texts), len(events), sum(map(len, texts))) == (session.files, session.events, session.bytes)
    definitions = [e.get("taskDefinitionEvent") or e["actorTaskDefinitionEvent"] for e in events if "TASK_DEFINITION" in e["eventType"]]
    jobs = Counter(attempt["jobId"] for attempt in definitions)
    assert len({(d["taskId"], d["taskAttempt"]) for d in definitions}) == session.attempts == sum(session.attempts_by_job.values())
    assert sorted(jobs.values()) == sorted(session.attempts_by_job.values())
    assert len({event["eventId"] for event in events}) == len(events)
    # Generated once: the second time it is only looked up.
    assert ensure(plan, tmp_path / "bucket") == session
