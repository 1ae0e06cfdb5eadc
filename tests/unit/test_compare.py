"""`/compare`: what grew, what is new and what is gone, between two sessions or two jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.compare.comparison import compare
from shared.catalogue import Catalogue
from shared.overview import FailureGroup, FunctionRow, Spread, TaskFacts
from shared.settings import StorageSettings
from shared.storage.factory import open_storage
from tests.in_process import InProcess, in_process
from tests.published import loaded, publish

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


def _function(name: str, p50: int, count: int = 10) -> FunctionRow:
    return FunctionRow(name, "NORMAL_TASK", count, 0, 0, Spread(count, p50 * count, p50, p50, p50), None)


def _failure(message: str, count: int, error_type: str = "WORKER_DIED") -> FailureGroup:
    return FailureGroup(error_type, message, count, 1, 2, [], 0, [], 0, None, "")


def test_functions_that_grew_most_come_first() -> None:
    a = TaskFacts(functions=[_function("same", 100), _function("gone", 50), _function("faster", 400)])
    b = TaskFacts(functions=[_function("faster", 100), _function("new", 7), _function("same", 100), _function("slower", 0)])
    found = compare(a, b)
    assert [(pair.name, pair.ratio) for pair in found.functions] == [
        ("new", None), ("same", 1.0), ("slower", None), ("gone", None), ("faster", 0.25),
    ]  # fmt: skip
    assert found.functions_complete
    assert not compare(TaskFacts(functions_more=1), b).functions_complete


def test_failures_are_the_same_whatever_ids_are_in_them() -> None:
    a = TaskFacts(failures=[_failure("node 12 died", 3), _failure("KeyError: 'x'", 1)])
    b = TaskFacts(failures=[_failure("node 7 died", 5), _failure("node 7 died", 1, "NODE_DIED"), _failure("OSError: full", 9)])
    told = [(pair.message, pair.error_type, pair.a and pair.a.count, pair.b and pair.b.count) for pair in compare(a, b).failures]
    assert told == [
        ("OSError: full", "WORKER_DIED", None, 9),
        ("node 7 died", "NODE_DIED", None, 1),
        ("node 7 died", "WORKER_DIED", 3, 5),
        ("KeyError: 'x'", "WORKER_DIED", 1, None),
    ]


@pytest.fixture
async def server(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    async with in_process(recorded / "bucket", monkeypatch) as running:
        yield running


async def test_two_recorded_sessions_and_two_jobs(server: InProcess, recorded: Path) -> None:
    bucket = recorded / "bucket"
    sessions = [
        one for one in Catalogue(open_storage(StorageSettings(storage=f"file://{bucket}")), 0).sessions() if one.cluster == "raycap"
    ]
    for session in sessions:
        await publish(server, loaded(bucket, session))
    newer, older = str(sessions[0].ref), str(sessions[-1].ref)

    async def asked(**parameters: str) -> dict[str, Any]:
        answer = await server.client.get("/compare", params=parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    same = await asked(a=older, b=older)
    assert same["a"] == same["b"]
    assert {pair["ratio"] for pair in same["functions"]} <= {1.0, None}
    assert all(pair["a"] == pair["b"] for pair in (*same["functions"], *same["failures"]))
    overview = (await server.client.get(f"/sessions/{older}/overview")).json()["overview"]
    other = (await server.client.get(f"/sessions/{newer}/overview")).json()["overview"]
    found = await asked(a=newer, b=older)
    assert (found["a"]["states"], found["b"]["states"]) == (other["states"], overview["states"])
    only_newer = {row["name"] for row in overview["functions"]} - {row["name"] for row in other["functions"]}
    assert only_newer
    assert {pair["name"] for pair in found["functions"] if pair["a"] is None} == only_newer
    jobs = [job for job in overview["jobs"] if job["job_id"] in ("03000000", "06000000")]
    of_jobs = await asked(a=older, a_job="03000000", b=older, b_job="06000000")
    by_id = {job["job_id"]: job for job in jobs}
    for side in ("a", "b"):
        job = by_id[of_jobs[side]["job_id"]]
        assert of_jobs[side]["states"] == job["tasks"]
        assert (of_jobs[side]["start_ms"], of_jobs[side]["end_ms"]) == (job["start_time_ms"], job["end_time_ms"])


async def test_what_cannot_be_compared_is_said(server: InProcess, recorded: Path) -> None:
    bucket = recorded / "bucket"
    session = next(iter(Catalogue(open_storage(StorageSettings(storage=f"file://{bucket}")), 0).sessions()))
    ref = str(session.ref)

    async def code(**parameters: str) -> tuple[int, str]:
        answer = await server.client.get("/compare", params=parameters)
        return answer.status_code, answer.json()["code"]

    assert await code(a=ref) == (503, "loading")
    await publish(server, loaded(bucket, session))
    assert await code(a=ref) == (400, "invalid_request")
    assert await code(a=ref, b=ref, c="x") == (400, "invalid_request")
    assert await code(a=ref, b="default/raycluster/nope/latest") == (404, "session_not_found")
    assert await code(a=ref, b=ref, b_job="77000000") == (404, "job_not_found")
    assert (await server.client.get("/compare", headers=BROWSER)).headers["content-type"].startswith("text/html")
