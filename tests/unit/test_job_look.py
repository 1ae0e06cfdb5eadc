"""What the index of jobs learns of a session that was never loaded: few reads, and nothing that they do not say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StorageUnavailable
from shared.jobs import Job, SessionJobs, job_of_row, merged, pack, unpack
from shared.layout import session_prefix
from shared.sessions import Session
from shared.storage.local import LocalStorage
from workers.job_index.look import list_job_files, read_jobs

SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")
NODE = "aa" * 28
EVENTS = f"{NODE}/logs/events/event_JOBS.log"


class Counted(LocalStorage):
    """Counts reads by key."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()

    def read(self, key: str) -> bytes:
        self.reads[key] += 1
        return super().read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.reads[key] += 1
        return super().read_range(key, start, length)


def _event(message: str, seconds: int, submission: str) -> bytes:
    event = {"event_id": message, "source_type": "JOBS", "message": message, "timestamp": str(seconds)}
    return json.dumps(event | {"custom_fields": {"submission_id": submission}}).encode() + b"\n"


def _bucket(root: Path, files: dict[str, bytes], session: Session = SESSION) -> Counted:
    for key, content in files.items():
        file = root / session_prefix(session) / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Counted(str(root))


def _look(storage: Counted, session: Session = SESSION) -> SessionJobs:
    return read_jobs(storage, session, list_job_files(storage, session))


def _ran(submission: str, status: str, begin: int = 100, message: str = "") -> bytes:
    end = f"Completed a ray job {submission} with a status {status}.{message and ' ' + message}"
    return _event(f"Started a ray job {submission}.", begin, submission) + _event(end, begin + 7, submission)


def test_log_events_tell_of_submitted_jobs(tmp_path: Path) -> None:
    log = (
        _ran("good", "SUCCEEDED")
        + _ran("bad", "FAILED", 200, "Job supervisor actor died: gone")
        + _event("Started a ray job on.", 300, "on")
    )
    jobs = {job.id: job for job in _look(_bucket(tmp_path, {EVENTS: log})).jobs}
    assert [(job.status, job.start, job.end) for job in jobs.values()] == [
        ("SUCCEEDED", 100_000, 107_000), ("FAILED", 200_000, 207_000), ("PENDING", 300_000, 0),
    ]  # fmt: skip
    assert jobs["bad"].error == "Job supervisor actor died: gone"
    assert jobs["bad"].error_type == "JOB_SUPERVISOR_ACTOR_DIED"
    assert jobs["good"].error == ""
    assert jobs["good"].tasks is None, "not known before a load"


def test_the_log_of_the_last_failed_job_says_why(tmp_path: Path) -> None:
    log = b"Running entrypoint for job bad: python x.py\nTraceback (most recent call last):\n  File\n\x1b[31mValueError: no such thing\x1b[0m\n"
    files = {EVENTS: _ran("bad", "FAILED") + _ran("good", "SUCCEEDED", 200), f"{NODE}/logs/job-driver-bad.log": log}
    storage = _bucket(tmp_path, files | {f"{NODE}/logs/job-driver-good.log": b"x"})
    job = next(job for job in _look(storage).jobs if job.id == "bad")
    assert (job.entrypoint, job.error) == ("python x.py", "ValueError: no such thing")
    assert "\x1b" not in job.message
    assert sum(storage.reads.values()) == 2


def test_of_a_large_log_the_end_is_read(tmp_path: Path) -> None:
    log = b"Running entrypoint for job bad: python x.py\n" + b"printed\n" * 50_000 + b"KeyError: 7\n"
    storage = _bucket(tmp_path, {EVENTS: _ran("bad", "FAILED"), f"{NODE}/logs/job-driver-bad.log": log})
    (job,) = _look(storage).jobs
    assert (job.entrypoint, job.error) == ("", "KeyError: 7")


def test_a_stored_answer_tells_of_everything(tmp_path: Path) -> None:
    row = {"type": "SUBMISSION", "submission_id": "bad", "job_id": "02000000", "status": "FAILED", "entrypoint": "python y.py"}
    row |= {"message": "RuntimeError: x", "metadata": {"team": "a"}, "start_time": 5, "end_time": 9, "error_type": None}
    driver: dict[str, Any] = {**row, "type": "DRIVER", "submission_id": None, "job_id": "03000000", "status": "SUCCEEDED", "message": None}
    files = {EVENTS: _ran("bad", "FAILED"), "fetched_endpoints/restful__api__jobs": json.dumps([row, driver]).encode()}
    files["fetched_endpoints/restful__api__v0__cluster_metadata"] = b'{"data": {"rayVersion": "2.55.1"}}'
    storage = _bucket(tmp_path, files | {f"{NODE}/logs/job-driver-bad.log": b"x"})
    told = _look(storage)
    assert [(job.id, job.status, job.entrypoint, job.metadata) for job in told.jobs] == [
        ("02000000", "FAILED", "python y.py", {"team": "a"}),
        ("03000000", "SUCCEEDED", "python y.py", {"team": "a"}),
    ]
    assert (told.ray_version, told.nodes, told.complete) == ("2.55.1", 1, None)
    assert sum(storage.reads.values()) == 3


def test_what_is_malformed_costs_itself(tmp_path: Path) -> None:
    files = {EVENTS: b'{"event_id": 1, "cut\n' + _ran("good", "SUCCEEDED") + b"\xff\n", "fetched_endpoints/restful__api__jobs": b"<html>"}
    files["fetched_endpoints/restful__api__v0__cluster_metadata"] = b"[]"
    told = _look(_bucket(tmp_path, files))
    assert [job.id for job in told.jobs] == ["good"]
    assert told.ray_version == ""


def test_a_file_that_is_gone_is_none_and_an_outage_is_none_of_that(tmp_path: Path) -> None:
    storage = _bucket(tmp_path, {EVENTS: _ran("good", "SUCCEEDED")})
    files = list_job_files(storage, SESSION)
    assert files.log_events
    (tmp_path / files.log_events.key).unlink()
    assert read_jobs(storage, SESSION, files).jobs == []

    class Away(Counted):
        def read(self, key: str) -> bytes:
            raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        read_jobs(Away(str(tmp_path)), SESSION, files)


def test_the_digest_changes_with_what_tells_of_jobs_only(tmp_path: Path) -> None:
    storage = _bucket(tmp_path, {EVENTS: b"x"})
    first = list_job_files(storage, SESSION).digest()
    _bucket(tmp_path, {f"{NODE}/node_events/a.jsonl": b"{}"})
    assert list_job_files(storage, SESSION).digest() == first
    _bucket(tmp_path, {EVENTS: b"xx"})
    assert list_job_files(storage, SESSION).digest() != first


def test_recorded_sessions_cost_three_reads_each_at_most(recorded: Path) -> None:
    bucket = recorded / "bucket"
    wanted = {
        Session("batch", "rj-demo-x7k2p", "session_2026-11-23_19-08-07_927634_1", "rayjob", "rj-demo"): {"rj-demo-5zq8d": "SUCCEEDED"},
        Session("default", "raycap", "session_2026-11-23_19-05-06_598956_1"): {"mini-job": "SUCCEEDED", "fail-job": "FAILED"},
        Session("default", "raycap", "session_2026-11-23_19-07-13_553337_1"): {"mini-job-again": "SUCCEEDED", "still-running": "RUNNING"},
    }
    for session, statuses in wanted.items():
        storage = Counted(str(bucket))
        told = _look(storage, session)
        assert {job.submission_id: job.status for job in told.jobs} == statuses
        assert sum(storage.reads.values()) <= 3
        assert len(pack(told)) < 2_000
        assert unpack(pack(told)) == told


def test_what_a_load_knew_is_kept_and_ends_are_added() -> None:
    def entry(*jobs: Job, complete: bool | None = None) -> SessionJobs:
        return SessionJobs(SESSION.to_dict(), list(jobs), complete=complete)

    def job(name: str, status: str, **more: Any) -> Job:
        return job_of_row({"submission_id": name, "status": status, **more}, more.get("tasks"))

    known = entry(job("a", "RUNNING", entrypoint="x", tasks={"FAILED": 2}), job("b", "FAILED", message="why"), complete=True)
    told = entry(job("a", "SUCCEEDED", end_time=9), job("b", "FAILED", message="other"), job("c", "RUNNING"))
    both = merged(known, told)
    assert [(one.id, one.status, one.entrypoint, one.message, one.end, one.failures) for one in both.jobs] == [
        ("a", "SUCCEEDED", "x", "", 9, 2), ("b", "FAILED", "", "why", 0, None), ("c", "RUNNING", "", "", 0, None),
    ]  # fmt: skip
    assert both.complete is True


def test_long_texts_keep_what_matters() -> None:
    message = "Job entrypoint command failed\n" + "noise\n" * 5_000 + "Traceback\nmy.module.OddError: last words"
    job = job_of_row(
        {"status": "FAILED", "message": message, "entrypoint": "e" * 9_999, "metadata": {"k": "v" * 999, "n": 1}, "end_time": True}
    )
    assert job.error == "my.module.OddError: last words"
    assert job.message.startswith("Job entrypoint command failed")
    assert len(job.message) + len(job.entrypoint) + sum(map(len, job.metadata.values())) < 1_500
    assert (job.metadata["n"], job.end) == ("1", 0)


def test_what_is_no_entry_is_a_value_error() -> None:
    for packed in (b"", b"x", pack(SessionJobs({}, []))[:-2]):
        with pytest.raises(ValueError, match=r"."):
            unpack(packed)
