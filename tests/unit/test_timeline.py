"""The timeline: a Chrome trace of profile spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from api.dashboard import timeline
from shared import snapshot_format as fmt
from shared.timeline import TIMELINE, PythonTrace, trace
from tests.memory_snapshot import MemorySnapshot
from tests.task_lines import defined, loaded, profiled
from tests.unit.dashboard_app import dashboard_app
from workers import task_timeline
from workers.engine import PYTHON, NoSuchEngine, engine_for

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


def _client(tasks: list[dict[str, Any]], prepared: bytes | None = None) -> httpx.AsyncClient:
    return _client_of(MemorySnapshot({"tasks": tasks}, {TIMELINE: prepared} if prepared else {}))


def _client_of(snapshot: MemorySnapshot) -> httpx.AsyncClient:
    within = SimpleNamespace(snapshot=snapshot, browser=False)
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


async def test_what_was_prepared_of_all_tasks_is_the_answer_where_all_are_meant() -> None:
    prepared = b'["prepared"]'
    jobs = {"": 2, f"?job_id={JOB}": 1, "?limit=all": 0, "?job_id=09000000": 0}
    for path, most_jobs in jobs.items():
        for count in (1, 2):
            tasks = [_task(1), _task(2, [JOB, OTHER_JOB][count - 1]), _task(3, OTHER_JOB, type="DRIVER_TASK")]
            async with _client(tasks, prepared) as client:
                answer = await client.get(f"/api/v0/tasks/timeline{path}")
            assert (answer.content == prepared) == (count <= most_jobs), (path, count)


async def _timeline_of(snapshot: MemorySnapshot) -> bytes:
    async with _client_of(snapshot) as client:
        return (await client.get("/api/v0/tasks/timeline")).content


def test_a_load_of_several_ranges_prepares_what_a_request_would_make(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number * 7919 % 256:02x}" + "a1" * 15 + ("03000000" if number % 3 else "04000000") + "ffffffff" for number in range(120)]
    lines = []
    for number, task_id in enumerate(ids):
        kind = "DRIVER_TASK" if number % 40 == 1 else "NORMAL_TASK"
        lines += [defined(task_id, taskType=kind), profiled(("task:execute", number, 10**9), task_id=task_id)]
    snapshot = loaded([b"\n".join(lines)], ranges=3)
    table, fields = snapshot.written()
    assert sum(part.rows > 0 for part in table.parts) > 1

    def prepared() -> bytes | None:
        found = task_timeline.timeline_fields(table, lambda names: [fields.get(name) for name in names], PYTHON.new_trace())
        packed = found.get(fmt.doc_field(TIMELINE))
        return b"".join(fmt.decompress(piece) for piece in msgspec.msgpack.decode(packed)) if packed else None

    assert prepared() is None, "so few are made when they are asked for"
    for fewest, most in ((117, 100), (117, 10_000), (118, 10_000)):
        monkeypatch.setattr(task_timeline, "_FEWEST_TASKS", fewest)
        for module in (task_timeline, timeline):
            monkeypatch.setattr(module, "TIMELINE_TASKS", most)
        made = asyncio.run(_timeline_of(snapshot))
        assert prepared() == (made if fewest == 117 else None)
        assert made.count(b'"ph":"X"') == min(most, 117)
    monkeypatch.setattr(task_timeline, "_FEWEST_TASKS", 1)
    monkeypatch.setattr(task_timeline, "_LONGEST", 1000)
    assert prepared() is None, "too long"


@pytest.mark.parametrize(
    "extra",
    [
        b'{"name":"m.f","task_id":"x"}', b'{"task_id":"x","name":"m.f"}', b'{"name":"m.\\u00e9\\n","task_id":7}', b'{ "name":"f","task_id":"x"}',
        b'{"name":"a","name":"b","task_id":""}', b'{"name":null,"task_id":""}', b'{"name":"f","task_id":"x","cname":"ray.put"}', b"[1e400]",
        b'{"a":1e400}', b"null", b'{"cname":7,"x":[1.50,{}]}', b'{"name":{"a":"b"},"profiling_data":{}}',
    ],
)  # fmt: skip
def test_both_engines_show_whatever_a_program_says_of_a_span(extra: bytes) -> None:
    try:
        native = engine_for("native").new_trace()
    except NoSuchEngine:
        pytest.skip("the core is not built: `make setup` does where there is cargo")
    columns = _task(1, name="n", state="s", func_or_class_name='f"\n', parent_task_id="p")
    order = ("task_id", "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id")
    row = msgspec.json.encode({name: columns[name] for name in order})
    spans = b",".join(
        b'{"start_time":0.001,"end_time":1795460400123.4568,"extra_data":%b,"event_name":"ray.get"}' % one for one in (extra, b"{}")
    )
    env = b'"runtime_env_info":{"a":1,"profiling_data":{"events":[{}]}},' if b"profiling" in extra else b""
    row = row[:-1] + b',%b"profiling_data":{"component_type":"driver","component_id":"d","node_ip_address":"\\u00e9","events":[%b]}}' % (
        env,
        spans,
    )
    found, expected = (b"".join(trace([row] * 2, made)) for made in (native, PythonTrace()))
    assert found == expected
    assert expected.count(b'"ph":"X"') == 4
