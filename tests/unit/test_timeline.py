"""The timeline: a Chrome trace of profile spans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api.dashboard import timeline
from tests.memory_snapshot import MemorySnapshot
from tests.unit.dashboard_app import dashboard_app

JOB, OTHER_JOB = "03000000", "04000000"
MOST = 10_000
SPANS = [
    {"start_time": 1000.5, "end_time": 1002.0, "event_name": "task:execute", "extra_data": {}},
    {
        "start_time": 1000.0,
        "end_time": 1003.0,
        "event_name": "task::f",
        "extra_data": {"name": "m.f", "task_id": "other", "cname": "ray.get"},
    },
    {"start_time": 1.0, "end_time": 2.0, "event_name": "mine", "extra_data": "no object"},
]


def _task(number: int, job: str = JOB, **columns: Any) -> dict[str, Any]:
    profile = {"component_type": "worker", "component_id": f"w{number % 3}", "node_ip_address": f"10.0.0.{number % 2}", "events": SPANS[:1]}
    return {
        "task_id": f"{number:048x}",
        "job_id": job,
        "attempt_number": 0,
        "type": "NORMAL_TASK",
        "func_or_class_name": "f",
        "actor_id": None,
        "profiling_data": profile,
        **columns,
    }


def _client(tasks: list[dict[str, Any]]) -> httpx.AsyncClient:
    within = SimpleNamespace(snapshot=MemorySnapshot({"tasks": tasks}), browser=False)
    return httpx.AsyncClient(transport=httpx.ASGITransport(dashboard_app(within, timeline.routes)), base_url="http://history")


@pytest.fixture
async def large() -> AsyncIterator[httpx.AsyncClient]:
    tasks = [_task(number) for number in range(MOST + 1)] + [_task(MOST + 1, OTHER_JOB), _task(MOST + 2, type="DRIVER_TASK")]
    async with _client(tasks) as client:
        yield client


async def test_a_span_is_a_complete_event_of_its_worker_and_node() -> None:
    profile = {"component_type": "worker", "component_id": "w", "node_ip_address": "10.0.0.1", "events": SPANS}
    async with _client([_task(7, profiling_data=profile), _task(8, profiling_data={}), _task(9, profiling_data=profile)]) as client:
        events = (await client.get("/api/v0/tasks/timeline")).json()
    ours = {"task_id": f"{7:048x}", "job_id": JOB, "attempt_number": 0, "func_or_class_name": "f", "actor_id": None}
    common = {"pid": 0, "tid": 0, "ph": "X"}
    assert events[:3] == [
        {"cat": "task:execute", "name": "task:execute", "ts": 1000500.0, "dur": 1500.0, "cname": "rail_animation", "args": ours, **common},
        {
            "cat": "task::f",
            "name": "m.f",
            "ts": 1e6,
            "dur": 3000.0,
            "cname": "good",
            "args": {"name": "m.f", "cname": "ray.get", **ours},
            **common,
        },
        {"cat": "mine", "name": "mine", "ts": 1000.0, "dur": 1000.0, "cname": "generic_work", "args": ours, **common},
    ]
    assert events[6:] == [
        {"name": "process_name", "args": {"name": "Node 10.0.0.1"}, "pid": 0, "ph": "M"},
        {"name": "thread_name", "args": {"name": "worker:w"}, "pid": 0, "tid": 0, "ph": "M"},
    ]


async def test_ten_thousand_tasks_are_one_answer_and_all_of_them_a_stream(large: httpx.AsyncClient) -> None:
    first, all_of_them = [await large.get(f"/api/v0/tasks/timeline?job_id={JOB}{limit}") for limit in ("", "&limit=all")]
    spans = [[event for event in answer.json() if event["ph"] == "X"] for answer in (first, all_of_them)]
    assert [len(found) for found in spans] == [MOST, MOST + 1]
    assert spans[1][:MOST] == spans[0]
    assert [event for event in first.json() if event["ph"] == "M"] == [event for event in all_of_them.json() if event["ph"] == "M"]
    assert "content-length" in first.headers, "whole, so that it is kept"
    assert "content-length" not in all_of_them.headers
    assert len((await large.get("/api/v0/tasks/timeline?limit=all")).json()) == len(all_of_them.json()) + 1


@pytest.mark.parametrize("limit", ["", "limit=all&"])
async def test_a_download_has_a_name(large: httpx.AsyncClient, limit: str) -> None:
    answer = await large.head(f"/api/v0/tasks/timeline?{limit}download=1&job_id={OTHER_JOB}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="timeline-{OTHER_JOB}-20')


@pytest.mark.parametrize("limit", ["", "?limit=all"])
async def test_no_spans_are_an_empty_array(limit: str) -> None:
    async with _client([_task(1, profiling_data={})]) as client:
        assert (await client.get(f"/api/v0/tasks/timeline{limit}")).content == b"[]"
