"""`/jobs`: what can be asked, in which order it comes, page by page, and how an API process follows the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from fakeredis import FakeRedis, FakeServer
from fakeredis.aioredis import FakeRedis as FakeAsyncRedis
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from api.access.caller import AllRights, Caller, acting_as
from api.access.rights_file import GrantedRights
from api.errors import add_error_handlers
from api.jobs import routes
from api.jobs.query import SORTS, JobQuery, parse_query, select
from api.jobs.table import JobTable, JobView
from shared.errors import InvalidQuery
from shared.jobs import SessionJobs, job_of_row, pack, unpack, unpack_some
from shared.sessions import Session
from shared.settings import JobIndexSettings, Settings
from shared.store.job_index import JobIndex, JobIndexReader
from shared.store.keys import Keyspace

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
FIRST = Session("prod", "etl", "session_2026-11-20_10-00-00_000001_1", "rayjob", "nightly")
SECOND = Session("dev", "lab", "session_2026-11-21_10-00-00_000001_1")


def _entry(session: Session, *rows: dict[str, Any], ray_version: str = "2.60.0", complete: bool | None = None) -> SessionJobs:
    jobs = [job_of_row(row, row.get("tasks")) for row in rows]
    return SessionJobs(session.to_dict(), jobs, ray_version=ray_version, nodes=2, complete=complete)


def _job(name: str, status: str = "SUCCEEDED", start: int = 1_000, end: int = 2_000, **more: Any) -> dict[str, Any]:
    return {"type": "SUBMISSION", "submission_id": name, "status": status, "start_time": start, "end_time": end, **more}


ENTRIES = [
    _entry(
        FIRST,
        _job("load-a", "FAILED", 5_000, 9_000, message="Traceback\nOddError: Disk Full", entrypoint="python load.py --all"),
        _job("load-b", start=6_000, end=6_500, metadata={"team": "ml"}, tasks={"FAILED": 3, "FINISHED": 2}, job_id="02000000"),
        complete=True,
    ),
    _entry(SECOND, _job("try", "RUNNING", 7_000, 0), ray_version="2.6.1"),
]


def _view(entries: list[SessionJobs]) -> JobView:
    return JobView({}, []).changed({entry.session.key: pack(entry) for entry in entries}, set())


def _names(view: JobView, query: JobQuery, limit: int = 1000) -> list[str]:
    return [row.name for row in select(view, query, limit).rows]


def _query(**given: str) -> JobQuery:
    return parse_query(**dict.fromkeys(("q", "status", "namespace", "kind", "since", "until", "ray_version", "sort"), "") | given)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["try", "load-b", "load-a"]),
        ({"q": "LOAD.PY"}, ["load-a"]),
        ({"q": "full nightly"}, ["load-a"]),
        ({"q": "team=ml"}, ["load-b"]),
        ({"q": "lab"}, ["try"]),
        ({"q": "02000000"}, ["load-b"]),
        ({"q": "nothing"}, []),
        ({"status": "failed,RUNNING"}, ["try", "load-a"]),
        ({"namespace": "prod"}, ["load-b", "load-a"]),
        ({"kind": "RayJob"}, ["load-b", "load-a"]),
        ({"ray_version": "2.6"}, ["try"]),
        ({"ray_version": "2.60.0"}, ["load-b", "load-a"]),
        ({"since": "1970-01-01T00:00:08Z"}, ["load-a"]),
        ({"since": "7"}, ["try", "load-a"]),
        ({"until": "1970-01-01T00:00:06Z"}, ["load-a"]),
        ({"since": "1970-01-01T01:00:06+01:00", "until": "1970-01-01T00:00:07Z"}, ["load-b", "load-a"]),
        ({"sort": "start"}, ["load-a", "load-b", "try"]),
        ({"sort": "-duration"}, ["load-a", "load-b", "try"]),
        ({"sort": "-failures"}, ["load-b", "try", "load-a"]),
        ({"sort": "name"}, ["load-a", "load-b", "try"]),
        ({"sort": "end"}, ["try", "load-b", "load-a"]),
        ({"sort": "status"}, ["load-a", "try", "load-b"]),
    ],
)
def test_what_can_be_asked(asked: dict[str, str], names: list[str]) -> None:
    assert _names(_view(ENTRIES), _query(**asked)) == names


def test_who_may_see_some_namespaces_sees_no_others() -> None:
    view = _view(ENTRIES)
    assert _names(view, JobQuery(namespaces=frozenset(["dev"]))) == ["try"]
    assert select(view, JobQuery(namespaces=frozenset()), 10).total == 0


@pytest.mark.parametrize(
    "wrong", [{"status": "DONE"}, {"kind": "pod"}, {"sort": "size"}, {"since": "yesterday"}, {"until": "99999999999999"}]
)
def test_what_no_job_could_have_is_refused_by_name(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidQuery, match=next(iter(wrong))):
        _query(**wrong)


_times = st.integers(0, 3)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), _times, _times, st.sampled_from(["FAILED", "RUNNING"]), _times), max_size=12),
    st.sampled_from(SORTS),
    st.integers(1, 5),
)
def test_pages_hold_every_job_once_whatever_the_order(jobs: list[tuple[str, int, int, str, int]], sort: str, limit: int) -> None:
    rows = [_job(name, status, start, end, tasks={"FAILED": failed}) for name, start, end, status, failed in jobs]
    view = _view([_entry(FIRST, *rows[::2]), _entry(SECOND, *rows[1::2])])
    query = JobQuery(sort=sort)
    whole = select(view, query, 100).rows
    found, cursor = [], ""
    while True:
        page = select(view, query, limit, cursor)
        assert page.total == len(jobs)
        found += page.rows
        if page.next is None:
            break
        cursor = page.next
    assert found == list(whole)
    assert len(found) == len(jobs)


_texts = st.text("aB \0\né", max_size=5)


@given(st.lists(st.tuples(st.booleans(), _texts, _texts), max_size=8), st.text("abé", min_size=1, max_size=4))
def test_a_word_is_found_where_a_plain_look_at_each_job_finds_it(jobs: list[tuple[bool, str, str]], word: str) -> None:
    """Among all of them, and among a few that another filter leaves."""
    named = [(first, _job(f"j{number}", entrypoint=one, message=other)) for number, (first, one, other) in enumerate(jobs)]
    view = _view([_entry(FIRST, *(job for first, job in named if first)), _entry(SECOND, *(job for first, job in named if not first))])
    expected = {
        job["submission_id"]
        for first, job in named
        if any(word in text.lower() for text in (job["entrypoint"], job["message"].strip(), str((FIRST if first else SECOND).ref)))
        or word in (FIRST if first else SECOND).cluster
    }
    assert set(_names(view, _query(q=word))) == expected
    order = view.order("start")
    assert {view.row(number).name for number in view.those_with(word, order).tolist()} == expected


def test_changes_of_any_sessions_leave_the_others_as_they_are() -> None:
    sessions = [Session("prod", "etl", f"session_2026-11-2{day}_10-00-00_000001_1") for day in range(6)]
    entries = [_entry(session, _job(f"{number}a", start=number), _job(f"{number}b", start=9)) for number, session in enumerate(sessions)]
    view = _view([entries[4], entries[1], entries[3]])
    news = {sessions[n].key: pack(entries[n]) for n in (0, 2, 5)} | {sessions[3].key: pack(_entry(sessions[3], _job("other", start=7)))}
    view = view.changed(news, {sessions[1].key, "prod/etl/unknown"})
    assert _names(view, _query(sort="start")) == ["0a", "2a", "4a", "5a", "other", "0b", "2b", "4b", "5b"]
    for name, number in (("4b", 4), ("other", 3)):
        ((entry, job),) = view.jobs_of(select(view, _query(q=name), 10).rows)
        assert (job.submission_id, entry.session.session) == (name, sessions[number].session)
    assert _names(view, _query(q="session_2026-11-25")) == ["5b", "5a"]


def test_some_jobs_of_an_entry_are_as_in_the_whole() -> None:
    packed = pack(ENTRIES[0])
    some = unpack_some(packed, [1])
    assert some == msgspec.structs.replace(ENTRIES[0], jobs=ENTRIES[0].jobs[1:])
    assert unpack_some(packed, [1, 0]).jobs == unpack(packed).jobs[::-1]
    with pytest.raises(ValueError, match="frame"):
        unpack_some(b"damaged", [0])


def test_a_time_that_no_calendar_has_is_not_known() -> None:
    entry = _entry(FIRST, _job("far", start=10**17, end=5_000))
    ((found, job),) = _view([entry]).jobs_of(select(_view([entry]), _query(), 10).rows)
    assert routes.job_row(found, job)["start"] is None


def test_a_page_goes_on_where_the_last_one_ended_though_jobs_came_and_went() -> None:
    query = JobQuery()
    before = _view([_entry(FIRST, _job("a", start=1), _job("b", start=2), _job("c", start=3), _job("d", start=4))])
    page = select(before, query, 2)
    assert [row.name for row in page.rows] == ["d", "c"]
    after = _view([_entry(FIRST, _job("a", start=1), _job("b", start=2), _job("z", start=3), _job("e", start=5))])
    assert page.next
    assert [row.name for row in select(after, query, 2, page.next).rows] == ["b", "a"]


@pytest.mark.parametrize("cursor", ["x", "WyJuYW1lIiwiYSJd", "bnVsbA", "WyItc3RhcnQiLCJhIiwiYiIsImMiXQ", "\u00e9"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidQuery, match="cursor"):
        select(_view(ENTRIES), JobQuery(), 2, cursor)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def index(server: FakeServer) -> JobIndex:
    return JobIndex(FakeRedis(server=server), Keyspace())


@pytest.fixture
def table(server: FakeServer) -> JobTable:
    return JobTable(JobIndexReader(FakeAsyncRedis(server=server), Keyspace()), Clock())


async def test_changes_are_followed(index: JobIndex, table: JobTable, server: FakeServer) -> None:
    async def names() -> list[str]:
        return sorted(_names(await table.view(), JobQuery()))

    assert await names() == []
    index.put(FIRST.key, ENTRIES[0])
    assert await names() == ["load-a", "load-b"]
    index.put(SECOND.key, ENTRIES[1])
    index.put(FIRST.key, _entry(FIRST, _job("other")))
    assert await names() == ["other", "try"]
    index.remove([FIRST.key])
    assert await names() == ["try"]
    index.remove([SECOND.key])
    index.put(FIRST.key, ENTRIES[0])
    assert await names() == ["load-a", "load-b"], "as many as before"
    FakeRedis(server=server).flushall()
    assert await names() == []
    index.put(FIRST.key, ENTRIES[0])
    assert await names() == ["load-a", "load-b"], "filled anew"
    FakeRedis(server=server).hset(Keyspace().job_index.entries, SECOND.key, b"damaged")
    FakeRedis(server=server).zadd(Keyspace().job_index.changes, {SECOND.key: 9e15})
    assert await names() == ["load-a", "load-b"]


async def test_an_index_that_is_filled_anew_by_a_clock_behind_is_followed(index: JobIndex, table: JobTable, server: FakeServer) -> None:
    index.put(FIRST.key, ENTRIES[0])
    redis = FakeRedis(server=server)
    redis.zadd(Keyspace().job_index.changes, {FIRST.key: 8e15})
    assert _names(await table.view(), JobQuery())
    redis.flushall()
    index.put(SECOND.key, ENTRIES[1])
    assert _names(await table.view(), JobQuery()) == ["try"]
    index.put(SECOND.key, _entry(SECOND, _job("again")))
    assert _names(await table.view(), JobQuery()) == ["again"]


async def test_many_sessions_are_taken_over_at_once(index: JobIndex, table: JobTable) -> None:
    for number in range(60):
        index.put(f"{number}", _entry(FIRST, _job(f"j{number}")))
    view = await table.view()
    assert view.sessions(view.namespaces) == 60
    assert select(view, JobQuery(), 5).total == 60


def _settings(monkeypatch: pytest.MonkeyPatch, *, on: bool) -> Settings:
    monkeypatch.setenv("RAY_HISTORY_JOB_INDEX", str(on))
    settings = Settings.from_environment()
    assert settings.jobs == JobIndexSettings(job_index=on)
    return settings


_CALLERS = {b"all": Caller("all", AllRights()), b"prod": Caller("prod", GrantedRights([{"prod": frozenset({"see"})}]))}


@pytest.fixture
async def client(server: FakeServer, table: JobTable, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.settings, app.state.jobs = _settings(monkeypatch, on=True), table
    app.state.redis, app.state.keyspace = FakeAsyncRedis(server=server), Keyspace()
    app.include_router(routes.router)
    add_error_handlers(app)

    async def by_caller(scope: Scope, receive: Receive, send: Send) -> None:
        with acting_as(_CALLERS[dict(scope["headers"]).get(b"caller", b"all")]):
            await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(by_caller), base_url="http://history") as made:
        made.params = {}
        yield made
        app.state.settings = _settings(monkeypatch, on=False)
        refused = await made.get("/jobs")
        assert (refused.status_code, refused.json()["code"]) == (404, "job_index_off")


async def test_rows_say_what_is_known(client: httpx.AsyncClient, index: JobIndex) -> None:
    assert (await client.get("/jobs")).json() == {
        "jobs": [], "next": None, "total": 0, "index": {"sessions": 0, "listed_at": None, "age": None, "left": 0, "failed": 0},
    }  # fmt: skip
    for entry in ENTRIES:
        index.put(entry.session.key, entry)
    index.end_pass(passed=1, listed=1_795_460_400_000, left=7, failed=1)
    body = (await client.get("/jobs", params={"sort": "start", "limit": 2})).json()
    failed, loaded = body["jobs"]
    assert failed == {
        "ref": f"prod/rayjob/nightly/{FIRST.session}", "namespace": "prod", "kind": "rayjob", "name": "nightly", "cluster": "etl",
        "session": FIRST.session, "type": "SUBMISSION", "id": "load-a", "job_id": None, "submission_id": "load-a",
        "entrypoint": "python load.py --all", "metadata": {}, "status": "FAILED", "message": "Traceback\nOddError: Disk Full",
        "error": "OddError: Disk Full", "error_type": None, "start": "1970-01-01T00:00:05.000Z", "end": "1970-01-01T00:00:09.000Z",
        "duration": 4.0, "tasks": None, "failures": None, "nodes": 2, "ray_version": "2.60.0", "complete": True,
    }  # fmt: skip
    assert (loaded["id"], loaded["failures"], loaded["tasks"]) == ("02000000", 3, {"FAILED": 3, "FINISHED": 2})
    assert body["total"] == 3
    assert body["index"] | {"age": 0} == {"sessions": 2, "listed_at": "2026-11-23T19:00:00.000Z", "age": 0, "left": 7, "failed": 1}
    (last,) = (await client.get("/jobs", params={"sort": "start", "cursor": body["next"]})).json()["jobs"]
    assert (last["status"], last["end"], last["duration"]) == ("RUNNING", None, None)


async def test_callers_see_the_jobs_of_their_namespaces(client: httpx.AsyncClient, index: JobIndex) -> None:
    for entry in ENTRIES:
        index.put(entry.session.key, entry)
    seen = (await client.get("/jobs", headers={"caller": "prod"})).json()
    everything = (await client.get("/jobs")).json()
    assert {job["namespace"] for job in seen["jobs"]} == {"prod"}
    assert (seen["total"], seen["index"]["sessions"]) == (len(seen["jobs"]), 1)
    assert (everything["total"], everything["index"]["sessions"]) == (3, 2)
    assert (seen["index"]["left"], everything["index"]["left"]) == (None, 0), "a count of sessions that they may not see"


@pytest.mark.parametrize("query", ["staus=FAILED", "limit=0", "limit=x", "since=soon", "cursor=x"])
async def test_what_is_wrong_with_a_request_is_said(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert query.partition("=")[0] in answer.json()["detail"]


async def test_a_job_has_an_address_by_its_submission_id(client: httpx.AsyncClient, index: JobIndex) -> None:
    index.put(FIRST.key, ENTRIES[0])
    index.put(SECOND.key, _entry(SECOND, _job("load-b", start=9_000, job_id="07000000"), _job("a/b?", start=1)))
    newest, older = (await client.get("/jobs/load-b")).json()["jobs"]
    assert (newest["namespace"], older["namespace"]) == ("dev", "prod")
    sent = await client.get("/jobs/load-b", headers=BROWSER)
    assert sent.status_code == 303
    assert sent.headers["Location"] == f"../sessions/dev/raycluster/lab/{SECOND.session}/dashboard/#/jobs/07000000"
    (seen,) = (await client.get("/jobs/load-b", headers={"caller": "prod"})).json()["jobs"]
    assert seen["namespace"] == "prod"
    assert (await client.get("/jobs/a%2Fb%3F", headers={"caller": "prod"})).status_code == 404
    missing = await client.get("/jobs/02000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "job_not_found"), "job ids are of one session each"


async def test_browsers_get_the_page_and_a_ray_dashboard_in_front_the_list(client: httpx.AsyncClient) -> None:
    page = await client.get("/jobs?status=FAILED", headers=BROWSER)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Vary"] == "Accept"
    assert (await client.get("/jobs", headers=BROWSER | {"Content-Type": "application/json"})).json()["total"] == 0
