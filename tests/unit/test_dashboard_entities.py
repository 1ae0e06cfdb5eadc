"""Dashboard routes of everything that is not a task or a log, on a snapshot of a made-up session."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import msgspec
import pytest
from fakeredis.aioredis import FakeRedis

from api.dashboard import actors, cluster, entity_summaries, events, jobs, nodes, state, stored, summaries, timeline
from api.dashboard.routing import DashboardScope
from api.snapshots.fields import BlockCache
from api.snapshots.reader import SnapshotReader
from shared.layout import log_prefixes, stored_endpoint
from shared.storage.local import LocalStorage
from shared.store.keys import Keyspace
from tests.unit import session_events as made
from tests.unit.dashboard_app import dashboard_app
from workers.entities import Entities
from workers.snapshot_end import entity_fields, meta_field

_ROUTERS = [module.routes for module in (state, summaries, timeline, entity_summaries, nodes, actors, jobs, events, cluster, stored)]
_BROWSER = {"User-Agent": "Mozilla/5.0"}
_SERVE = b'{"applications":{"app":{"runtime_env":{"env_vars":{"KEY":"secret"}}}}}'
_OTHER = "02" * 12 + "03000000"
_EXTRA = ("/api/v0/my__thing", "/api/a_/b", "/api/x?path=/b/c", "/custom/page", "/api/ends_with_slash_/")
_OBJECTS = msgspec.json.encode(
    {
        "result": True,
        "data": {"result": {"total": 2, "result": [{"object_id": "aa", "type": "DRIVER"}, {"object_id": "bb", "type": "WORKER"}]}},
    }
)


def _entities() -> Entities:
    said = {
        "event_id": "a",
        "source_type": "JOBS",
        "message": "Started a ray job sub.",
        "timestamp": "1795460408",
        "custom_fields": {"submission_id": "sub"},
    }
    crash = {"event_id": "b", "source_type": "RAYLET", "timestamp": 1795460409, "message": "m", "custom_fields": {"job_id": made.JOB}}
    secret = '{"env_vars": {"KEY": "secret"}}'
    return made.built(
        [
            *made.two_nodes(),
            *made.driver_job("04000000", env=secret),
            *made.driver_job("02000000", metadata={"job_submission_id": "sub", "job_name": "sub"}),
            *made.driver_job(metadata={"job_submission_id": "sub", "job_name": "sub"}),
            made.actor_defined(requiredResources={"node:__internal_head__": 0.001}, serializedRuntimeEnv=secret),
            made.actor_states(made.alive(5)),
            made.actor_defined(_OTHER),
        ],
        made.stored(
            endpoints={
                "/api/serve/applications": _SERVE,
                "/api/v0/custom?x=1": b'{"stored":1}',
                **{stored_endpoint(path): msgspec.json.encode(path) for path in _EXTRA},
                "/api/v0/objects?detail=1&limit=10000": _OBJECTS,
            },
            log_events=[msgspec.json.encode(said), msgspec.json.encode(crash)],
        ),
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    entities = _entities()
    tables, fields = entity_fields(entities)
    fields |= meta_field(tables, losses=[], loss_count=0, counts={}, ray_version=None)
    redis, keys = FakeRedis(), Keyspace().session(made.SESSION.key)
    await redis.hset(keys.snapshot("1"), mapping=fields)
    log = tmp_path / log_prefixes(made.SESSION, made.HEAD)[0] / "job-driver-sub.log"
    log.parent.mkdir(parents=True)
    log.write_bytes('50 %\r100 %\r\n"quoted" ü\n\xff'.encode("latin-1").replace(b"\xfc", "ü".encode()))
    reader = SnapshotReader(redis, keys, "1", BlockCache(1 << 20))
    scope = DashboardScope(made.SESSION, "1", reader, LocalStorage(tmp_path), browser=False)
    transport = httpx.ASGITransport(dashboard_app(scope, *_ROUTERS, by_headers=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        yield client


async def test_all_actors_and_chosen_ones(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/logical/actors")).json()["data"]["actors"]
    assert sorted(listed) == [made.ACTOR, _OTHER]
    chosen = (await client.get(f"/logical/actors?ids={_OTHER},nobody")).json()["data"]["actors"]
    assert chosen == {_OTHER: listed[_OTHER], "nobody": None}


async def test_one_actors_keys_are_converted_and_the_lists_are_not(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/logical/actors")).json()["data"]["actors"][made.ACTOR]
    shown = (await client.get(f"/logical/actors/{made.ACTOR}")).json()["data"]["detail"]
    assert listed["requiredResources"] == {"node:__internal_head__": 0.001}
    assert shown["requiredResources"] == {"node:InternalHead": 0.001}
    assert (await client.get("/logical/actors/0")).json()["data"] == {"detail": None}


async def test_nodes(client: httpx.AsyncClient) -> None:
    summary = (await client.get("/nodes?view=summary")).json()["data"]["summary"]
    assert [node["ip"] for node in summary] == ["10.0.0.1", "10.0.0.2"]
    assert (await client.get("/nodes?view=hostnamelist")).json()["data"]["hostNameList"] == ["host-10.0.0.1", "host-10.0.0.2"]
    detail = (await client.get(f"/nodes/{made.WORKER_NODE}")).json()["data"]["detail"]
    assert list(detail["actors"]) == [made.ACTOR]
    assert (await client.get("/nodes")).json()["data"]["summary"] == summary
    assert (await client.get("/nodes/")).json()["data"]["summary"] == summary


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/nodes?view=other", 400, "Unknown view other"),
        ("/nodes/summary", 404, "there is no node summary in this session"),
        ("/api/v0/tasks/summarize?summary_by=bogus", 400, "summary_by='bogus' is none of func_name, task_name, lineage"),
        ("/api/v0/tasks/timeline?job_id=x", 400, "job_id: Non-hexadecimal digit found"),
        ("/api/v0/actors/summarize?filter_keys=a", 400, "filter_keys, filter_predicates and filter_values must be given equally often"),
        ("/api/v0/jobs?limit=ten", 400, "limit='ten' is no whole number"),
        ("/api/v0/jobs?filter_keys=x&filter_predicates=%3D&filter_values=1", 400, "The given filter column x is not supported."),
        ("/api/v0/actors?limit=-1", 400, "limit=-1 is less than nothing"),
        ("/api/v0/actors?timeout=soon", 400, "timeout='soon' is no whole number"),
        ("/api/grafana_health", 501, "Grafana healthcheck failed"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(client: httpx.AsyncClient, address: str, status: int, said: str) -> None:
    """Where live fails without a reason: "Server got itself in trouble"."""
    answer = await client.get(address)
    assert answer.status_code == status
    assert answer.json()["result"] is False
    assert answer.json()["msg"].startswith(said)


async def test_events(client: httpx.AsyncClient) -> None:
    everything = (await client.get("/events")).json()["data"]["events"]
    assert {job: [event["eventId"] for event in of_job] for job, of_job in everything.items()} == {"global": ["a"], made.JOB: ["b"]}
    one = (await client.get(f"/events?job_id={made.JOB}")).json()["data"]
    assert one == {"jobId": made.JOB, "events": everything[made.JOB]}
    assert (await client.get('/events?job_id="')).json()["data"] == {"jobId": '"', "events": []}


async def test_jobs_by_either_id(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/jobs/")).json()
    assert {job["type"]: job["job_id"] for job in listed} == {"SUBMISSION": made.JOB, "DRIVER": "04000000"}
    by_submission, by_job = [(await client.get(f"/api/jobs/{wanted}")).json() for wanted in ("sub", made.JOB)]
    assert by_submission == by_job
    assert (await client.get("/api/jobs/SUB")).status_code == 404, "names are not folded"
    former = (await client.get("/api/jobs/02000000")).json()
    assert (former["job_id"], former["submission_id"]) == ("02000000", "sub")


async def test_unknown_jobs(client: httpx.AsyncClient) -> None:
    for path in ("/api/jobs/ffffff00", "/api/jobs/ffffff00/logs", "/api/jobs/ffffff00/logs/tail"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (404, "Job ffffff00 does not exist")


async def test_what_a_job_printed(client: httpx.AsyncClient) -> None:
    """Live opens the file as text: every kind of line end comes out as a newline."""
    assert (await client.get("/api/jobs/sub/logs")).json() == {"logs": '50 %\n100 %\n"quoted" ü\n\ufffd'}
    tail = await client.get("/api/jobs/sub/logs/tail")
    assert (tail.text, tail.headers["Content-Type"]) == ('50 %\n100 %\n"quoted" ü\n\ufffd', "text/plain; charset=utf-8")
    for path in ("logs", "logs/tail"):
        answer = await client.get(f"/api/jobs/04000000/{path}")
        assert (answer.status_code, answer.text) == (400, "Can only get logs of submission type jobs")


@pytest.mark.parametrize("path", ["/api/jobs/", "/api/jobs/04000000", "/api/serve/applications/", "/api/v0/actors?detail=1"])
async def test_browsers_do_not_see_values_of_environments(client: httpx.AsyncClient, path: str) -> None:
    assert "secret" in (await client.get(path)).text
    shown = (await client.get(path, headers=_BROWSER)).text
    assert "secret" not in shown
    assert "KEY" in shown


async def test_stored_answers_with_and_without_their_query(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v0/custom?x=1")).json() == {"stored": 1}
    for path in ("/api/v0/custom?x=2", "/api/v0/custom", "/api/v0/never"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (404, "404: Not Found")
    assert (await client.get("/api/data/datasets/03000000")).json() == {"datasets": []}


@pytest.mark.parametrize("path", [*_EXTRA, "/api/x?path=%2Fb%2Fc", "/api/v0/my__thing/", "/api/v0/my__thing?unknown=1"])
async def test_every_path_that_was_polled_is_served_as_stored(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.json().strip("/") in unquote(path).strip("/")


async def test_a_stored_list_is_filtered_as_any_other(client: httpx.AsyncClient) -> None:
    result = (await client.get("/api/v0/objects?detail=1&limit=100&timeout=24")).json()["data"]["result"]
    assert [row["object_id"] for row in result["result"]] == ["aa", "bb"]
    query = "?limit=1&filter_keys=type&filter_predicates=%3D&filter_values=worker"
    result = (await client.get(f"/api/v0/objects{query}")).json()["data"]["result"]
    assert (result["total"], result["num_filtered"], [row["object_id"] for row in result["result"]]) == (2, 1, ["bb"])


async def test_an_id_in_base64_finds_what_its_hex_does(client: httpx.AsyncClient) -> None:
    for text in (base64.b64encode(bytes.fromhex(made.ACTOR)).decode(), made.ACTOR):
        query = {"filter_keys": "actor_id", "filter_predicates": "=", "filter_values": text}
        result = (await client.get("/api/v0/actors", params=query)).json()["data"]["result"]
        assert [row["actor_id"] for row in result["result"]] == [made.ACTOR]


async def test_summary_of_actors(client: httpx.AsyncClient) -> None:
    result = (await client.get("/api/v0/actors/summarize")).json()["data"]["result"]
    assert (result["total"], result["num_filtered"]) == (2, 2)
    counts = {"Counter": {"class_name": "Counter", "state_counts": {"ALIVE": 1, "DEPENDENCIES_UNREADY": 1}}}
    assert result["result"]["node_id_to_summary"]["cluster"] == {"summary": counts, "total_actors": 2, "summary_by": "class"}
    query = "?filter_keys=state&filter_predicates=%3D&filter_values=alive"
    filtered = (await client.get(f"/api/v0/actors/summarize{query}")).json()["data"]["result"]
    assert (filtered["total"], filtered["num_filtered"]) == (2, 1)


async def test_a_whole_list_is_the_same_answer(client: httpx.AsyncClient) -> None:
    for query in ("detail=1", "filter_keys=state&filter_predicates=%3D&filter_values=alive"):
        whole = (await client.get(f"/api/v0/actors?limit=all&{query}")).json()
        assert whole == (await client.get(f"/api/v0/actors?limit=10000&{query}")).json()
    beyond = await client.get("/api/v0/actors?limit=10001")
    assert beyond.status_code == 400
    assert beyond.json()["msg"].endswith("or limit=all to have every row.")


async def test_a_row_without_a_value_passes_no_filter_on_it(client: httpx.AsyncClient) -> None:
    query = "?filter_keys=node_id&filter_predicates=!%3D&filter_values=x"
    result = (await client.get(f"/api/v0/actors{query}")).json()["data"]["result"]
    assert [row["actor_id"] for row in result["result"]] == [made.ACTOR]


async def test_cluster_events(client: httpx.AsyncClient) -> None:
    result = (await client.get("/api/v0/cluster_events?detail=1")).json()["data"]["result"]
    assert [(row["event_id"], row["time"], row["custom_fields"]) for row in result["result"]] == [
        ("a", "2026-11-23 19:00:08", {"submission_id": "sub"}),
        ("b", "2026-11-23 19:00:09", {"job_id": made.JOB}),
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v0/platform_events", 404),
        ("HEAD", "/api/v0/platform_events", 404),
        ("GET", "/api/grafana_health", 501),
        ("GET", "/api/prometheus_health", 501),
        ("POST", "/api/authenticate", 401),
        ("GET", "/api/authentication_mode", 200),
        ("GET", "/api/cluster_status", 200),
        ("GET", "/api/cluster_status?format=1", 200),
        ("GET", "/api/version", 200),
        ("GET", "/timezone", 200),
        ("GET", "/api/v0/objects/summarize", 200),
        ("POST", "/api/jobs/", 405),
    ],
)
async def test_statuses(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status
