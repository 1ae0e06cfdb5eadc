"""The index of jobs with real processes: a worker fills it beside its loads, `/jobs` follows it, and what Redis lost comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Api, Deployment, RedisServer, deployment
from tests.waiting import wait_until

RICH = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"
FAILING = "default/raycluster/raycap/session_2026-11-23_19-05-06_598956_1"
SUCCEEDED = "default/raycluster/raycap/session_2026-11-23_19-07-13_553337_1"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, recorded: Path) -> Path:
    """A copy: sessions are deleted here."""
    return Path(shutil.copytree(recorded / "bucket", tmp_path_factory.mktemp("stored") / "bucket"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, bucket: Path, database: count[int]) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("indexing")
    storage = {"STORAGE": f"file://{bucket}", "JOB_INDEX": "true", "JOB_INDEX_INTERVAL": 1}
    with deployment(directory, redis_server, storage, next(database)) as made:
        made.api()
        yield made


@pytest.fixture(scope="module")
def api(whole: Deployment) -> Api:
    whole.worker()
    return whole._apis[0]


def _jobs(api: Api, **query: object) -> dict[str, dict[str, Any]]:
    answer = api.get("/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return {job["submission_id"] or job["job_id"]: job for job in answer.json()["jobs"]}


def test_jobs_are_there_before_anything_is_loaded_and_whole_after(api: Api) -> None:
    wait_until(lambda: api.get("/jobs").json()["index"]["sessions"] == 4, "the index", 60)
    failed = _jobs(api, status="FAILED", q="fail_job.py")
    assert failed["fail-job"]["error"] == "RuntimeError: task 3 fails the driver"
    assert failed["fail-job"]["tasks"] is None
    assert api.state(FAILING) == api.state(RICH) == "absent"
    for ref in (FAILING, RICH):
        api.load(ref)
    wait_until(lambda: _jobs(api)["fail-job"]["complete"] is True, "the loaded session's jobs", 30)
    wait_until(lambda: _jobs(api)["tasks-job"]["complete"] is True, "the other's", 30)
    _equals_the_state_api(api, FAILING)
    _equals_the_state_api(api, RICH)


def _equals_the_state_api(api: Api, ref: str) -> None:
    """Every number of a row is what the session's own rows give."""
    rows = api.get(f"/sessions/{ref}/dashboard/api/v0/jobs", params={"detail": 1, "limit": 1000}).json()["data"]["result"]["result"]
    tasks = api.get(f"/sessions/{ref}/dashboard/api/v0/tasks", params={"detail": 1, "limit": 10_000}).json()["data"]["result"]["result"]
    found = {name: job for name, job in _jobs(api, limit=1000).items() if job["ref"] == ref}
    assert found.keys() == {row["submission_id"] or row["job_id"] for row in rows}
    for row in rows:
        job = found[row["submission_id"] or row["job_id"]]
        of_job = [task["state"] for task in tasks if task["job_id"] == row["job_id"]]
        assert job["tasks"] == {state: of_job.count(state) for state in of_job}
        assert job["failures"] == of_job.count("FAILED")
        assert (job["status"], job["entrypoint"], job["error_type"]) == (row["status"], row["entrypoint"], row["error_type"])
        assert job["duration"] == (round(row["end_time"] - row["start_time"]) / 1000 if row["end_time"] else None)


def test_what_redis_lost_comes_back(api: Api, whole: Deployment) -> None:
    wait_until(lambda: api.get("/jobs").json()["index"]["sessions"] == 4, "the index", 60)
    with whole.redis.client(whole.database) as redis:
        lost = list(redis.scan_iter("rhs:*jobs}*"))
        assert len(lost) >= 4
        redis.delete(*lost)
        wait_until(lambda: sum(redis.hlen(key) for key in redis.scan_iter("rhs:*jobs}*entries")) == 4, "the index to be filled anew", 60)
    wait_until(lambda: _jobs(api)["fail-job"]["complete"] is None, "the new one to be followed", 30)


def test_old_sessions_are_deleted_on_a_schedule(api: Api, whole: Deployment, bucket: Path) -> None:
    """With their snapshots and jobs, but for those with a failed job. The last test: it takes the sessions of the others."""
    api.load(SUCCEEDED)
    whole.worker(RETENTION="1h", RETENTION_KEEP_FAILED="true", RETENTION_INTERVAL=60)
    wait_until(lambda: _stored(bucket) == {ref.rpartition("/")[2] for ref in (RICH, FAILING)}, "old sessions to go", 60)
    wait_until(lambda: {job["ref"] for job in _jobs(api).values()} == {RICH, FAILING}, "their jobs to go", 60)
    wait_until(lambda: api.client.get(f"/sessions/{SUCCEEDED}").status_code == 404, "the session to be unknown", 30)


def _stored(bucket: Path) -> set[str]:
    return {path.name for path in (bucket / "cluster-metadata").rglob("session_*")}
