"""Answers: a page of detailed tasks, one task, a page that is polled, and summaries, each beside what the machine needs at least."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from benchmarks.bench import Bench, median, say
from benchmarks.floors import sender
from benchmarks.http_client import Answer, Connection, request_bytes
from benchmarks.load_generator import requests_per_second
from benchmarks.loading import load
from benchmarks.report import Row
from benchmarks.server import Server, route
from benchmarks.sessions import SessionPlan, SyntheticSession
from shared.sessions import Session
from shared.store.client import open_async_redis

_JOB = "01000000"
_OF_JOB = f"filter_keys=job_id&filter_predicates=%3D&filter_values={_JOB}"
_REPEATS = 21
# Small answers take as long as the CPU needs to remember the way.
_MANY_REPEATS = 101
_LARGE = 1 << 20
# What a first request may take beside three times the sending, however small its answer.
_FIRST_MS = 2.0
_TASK = re.compile(rb'"taskId":"([A-Za-z0-9+/]{32})"')
_IS_STATE_API = "api/v0/tasks"


def page_of_tasks(bench: Bench) -> list[Row]:
    """One page of detailed tasks of one job: of a large session against a small one, and against sending the same bytes."""
    sizes = bench.sizes
    large = bench.large().plan.session
    small = bench.session(SessionPlan(sizes.small, jobs=2)).plan.session
    for session in (large, small):
        ensure_loaded(bench, session)
    path = f"{_IS_STATE_API}?detail=1&limit={sizes.page}&{_OF_JOB}"
    first: dict[Session, list[Answer]] = {large: [], small: []}
    repeated: dict[Session, list[Answer]] = {large: [], small: []}
    sent = _SendFloor(bench)
    for turn in range(sizes.restarts):
        _cold_api(bench)
        for session in (large, small) if turn % 2 else (small, large):
            with bench.server.connect() as connection:
                answers = [_get(connection, session, path) for _ in range(_REPEATS)]
            first[session].append(answers[0])
            repeated[session] += answers[1:]
        sent.measure(first[large][0].body)
    rss = bench.server.api_process().memory_info().rss
    floor = sent.milliseconds
    cold_large, cold_small, warm_large, warm_small = (
        median(answer.seconds for answer in taken[session]) * 1000 for taken in (first, repeated) for session in (large, small)
    )
    named = f"{sizes.page:,} detailed tasks of one job, {bench.sizes.large:,}-task session"
    details = {"bytes": len(first[large][0].body), "bytes_small": len(first[small][0].body), "api_rss": rss, **_gzipped(bench, large, path)}
    small_name, send = f"{sizes.small:,}-task session", "send floor"
    return [
        Row(f"{named}: first request, cold caches", cold_large, "ms", 1.2, floor=cold_small, floor_name=small_name, details=details),
        Row(f"{named}: first request, cold caches", cold_large, "ms", 3.0, floor=floor, floor_name=send),
        Row(f"{named}: repeated", warm_large, "ms", 1.2, floor=warm_small, floor_name=small_name),
        Row(f"{named}: repeated", warm_large, "ms", 3.0, floor=floor, floor_name=send),
    ]


def timeline(bench: Bench) -> list[Row]:
    """The timeline of as many tasks as live gives, made and then kept."""
    session = bench.session(SessionPlan(bench.sizes.small, jobs=2)).plan.session
    ensure_loaded(bench, session)
    first: list[Answer] = []
    repeated: list[Answer] = []
    sent = _SendFloor(bench)
    for _ in range(bench.sizes.restarts):
        _cold_api(bench)
        with bench.server.connect() as connection:
            answers = [_get(connection, session, f"{_IS_STATE_API}/timeline") for _ in range(_REPEATS)]
        first.append(answers[0])
        repeated += answers[1:]
        sent.measure(first[0].body)
    found, again = (median(answer.seconds for answer in taken) * 1000 for taken in (first, repeated))
    details = {"bytes": len(first[0].body)}
    floor = sent.milliseconds
    return [
        Row("timeline of 10,000 tasks: first request", found, "ms", 4.0, floor=floor, floor_name="send floor", details=details),
        Row("timeline of 10,000 tasks: repeated", again, "ms", 1.5, floor=floor, floor_name="send floor"),
    ]


def one_task(bench: Bench) -> list[Row]:
    """Tasks by id, every time another one, from anywhere in a large session."""
    large = bench.large()
    session = large.plan.session
    ensure_loaded(bench, session)
    ids = _task_ids(large, bench.sizes.tasks_by_id)
    _cold_api(bench)
    tasks: list[float] = []
    livez: list[float] = []
    with bench.server.connect() as connection:
        for task_id in ids:
            path = f"{_IS_STATE_API}?detail=1&limit=1&filter_keys=task_id&filter_predicates=%3D&filter_values={task_id}"
            answer = _get(connection, session, path)
            assert task_id.encode() in answer.body
            tasks.append(answer.seconds * 1000)
            livez.append(connection.get("/livez").seconds * 1000)
    trips = asyncio.run(_redis_round_trips(bench.server, len(ids)))
    floor = median(livez) + median(trips)
    named = f"one task by id, {bench.sizes.large:,}-task session, p50"
    details = {
        "livez_ms": median(livez),
        "redis_round_trip_ms": median(trips),
        "p99_ms": sorted(tasks)[len(tasks) * 99 // 100],
        "first_ms": tasks[0],
    }
    return [Row(named, median(tasks), "ms", 1.5, floor=floor, floor_name="/livez + Redis round trip", details=details)]  # fmt: skip


def not_modified(bench: Bench) -> list[Row]:
    """Requests per second of a page that is polled and has not changed."""
    session = bench.medium().plan.session
    ensure_loaded(bench, session)
    _cold_api(bench)
    path = route(session, f"{_IS_STATE_API}?detail=1&limit={bench.sizes.page}&{_OF_JOB}")
    with bench.server.connect() as connection:
        tag = connection.get(path).headers["etag"]
    polled, livez = request_bytes("GET", path, {"if-none-match": tag}), request_bytes("GET", "/livez")
    port, seconds = bench.server.port, bench.sizes.seconds
    pairs = [
        (requests_per_second(port, polled, 304, seconds=seconds), requests_per_second(port, livez, 200, seconds=seconds))
        for _ in range(bench.sizes.rounds)
    ]
    found, floor = (median(taken) for taken in zip(*pairs, strict=True))
    return [Row("304 for a polled page", found, "requests/s", 0.6, ">=", floor=floor, floor_name="/livez", details={"pairs": pairs})]


def summaries(bench: Bench) -> list[Row]:
    """Summaries of one large job, by function and by lineage."""
    synthetic = bench.session(SessionPlan(bench.sizes.medium, jobs=1))
    session = synthetic.plan.session
    ensure_loaded(bench, session)
    paths = {"function": f"api/v0/tasks/summarize?{_OF_JOB}", "lineage": f"api/v0/tasks/summarize?{_OF_JOB}&summary_by=lineage"}
    first: dict[str, list[Answer]] = {by: [] for by in paths}
    repeated: dict[str, list[Answer]] = {by: [] for by in paths}
    sent = {by: _SendFloor(bench) for by in paths}
    for _ in range(bench.sizes.restarts):
        _cold_api(bench)
        with bench.server.connect() as connection:
            for by, path in paths.items():
                answers = [_get(connection, session, path) for _ in range(_MANY_REPEATS)]
                first[by].append(answers[0])
                repeated[by] += answers[1:]
        for by, answers in first.items():
            sent[by].measure(answers[0].body)
    rows = []
    for by in paths:
        floor = sent[by].milliseconds
        for when, taken in (("first request, cold caches", first[by]), ("repeated", repeated[by])):
            named = f"summary by {by} of a job of {synthetic.plan.tasks:,} tasks: {when}"
            milliseconds = median(answer.seconds for answer in taken) * 1000
            details = {"bytes": len(taken[0].body)}
            bar = 3.0 + _FIRST_MS / floor if taken is first[by] else 2.0
            rows.append(Row(named, milliseconds, "ms", bar, floor=floor, floor_name="send floor", details=details))
    return rows


def overview(bench: Bench) -> list[Row]:
    """The page of a large session, and what it asks: the first time that a process is asked, and in all."""
    session = bench.large().plan.session
    ensure_loaded(bench, session)
    pages, answers = [], []
    for _ in range(bench.sizes.restarts):
        _cold_api(bench)
        with bench.server.connect() as connection:
            address = f"/sessions/{session.ref}/overview"
            pages.append(connection.get(address, {"Accept": "text/html"}))
            answers.append(connection.get(address))
            named = re.findall(rb'(?:href|src)="[./]*/(pages/[^"]+)"', pages[-1].body)
            # What scripts import beside what the page names.
            scripts = [b"pages/%b.js" % name for name in (b"common", b"failures", b"plots", b"overview-parts")]
            files = [connection.get(f"/{name.decode()}") for name in {*named, *scripts}]
    for answer in (*pages, *answers, *files):
        assert answer.status == 200, answer.body[:500]
    size = sum(len(answer.body) for answer in (pages[-1], answers[-1], *files))
    shown = f"overview of a {bench.sizes.large:,}-task session"
    return [
        Row(f"{shown}: page, cold caches", median(answer.seconds for answer in pages) * 1000, "ms", 100),
        Row(f"{shown}: what it asks, cold caches", median(answer.seconds for answer in answers) * 1000, "ms", 100),
        Row(f"{shown}: page, scripts and answer, unpacked", size / 1000, "KB", 500, details={"answer_bytes": len(answers[-1].body)}),
    ]


def _get(connection: Connection, session: Session, path: str, **headers: str) -> Answer:
    answer = connection.get(route(session, path), headers)
    assert answer.status == 200, (path, answer.status, answer.body[:500])
    return answer


def ensure_loaded(bench: Bench, session: Session) -> None:
    """Unless it is loaded, load it."""
    with bench.server.connect() as connection:
        loaded = connection.get(f"/sessions/{session.ref}")
    if b'"state":"loaded"' not in loaded.body:
        say(f"  loading {session.cluster}")
        load(bench.server, session)


def _cold_api(bench: Bench) -> None:
    """A new API process that has answered the same kinds of requests before, but for another session."""
    bench.server.start_api()
    other = bench.recorded()
    ensure_loaded(bench, other)
    with bench.server.connect() as connection:
        for query in (f"?detail=1&{_OF_JOB}", "?limit=1", f"/summarize?{_OF_JOB}", f"/summarize?{_OF_JOB}&summary_by=lineage"):
            for _ in range(3):
                _get(connection, other, _IS_STATE_API + query)


class _SendFloor:
    """Sending one body, measured in between what is compared with it: the machine is not the same at all times."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._taken: list[float] = []

    def measure(self, body: bytes) -> None:
        with sender(body, self._bench.directory) as connection:
            answers = [connection.get("/") for _ in range(_REPEATS if len(body) > _LARGE else _MANY_REPEATS)]
        assert answers[0].body == body
        self._taken += [answer.seconds * 1000 for answer in answers]

    @property
    def milliseconds(self) -> float:
        return median(self._taken)


def _gzipped(bench: Bench, session: Session, path: str) -> dict[str, Any]:
    """The same for clients that take gzip: the second time it is packed already."""
    with bench.server.connect() as connection:
        first, *others = [_get(connection, session, path, **{"accept-encoding": "gzip"}) for _ in range(_REPEATS)]
    sent = _SendFloor(bench)
    sent.measure(first.body)
    repeated = median(answer.seconds for answer in others) * 1000
    return {
        "gzip": {"bytes": len(first.body), "packing_ms": first.seconds * 1000, "repeated_ms": repeated, "send_floor_ms": sent.milliseconds}
    }


async def _redis_round_trips(server: Server, count: int) -> list[float]:
    """Milliseconds of one small command by the API's own client."""
    redis = open_async_redis(server.redis_settings)
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        await cast("Awaitable[Any]", redis.get("rhs:no-such-key"))
        taken.append((time.perf_counter() - began) * 1000)
    await redis.aclose()
    return taken


def _task_ids(synthetic: SyntheticSession, count: int) -> list[str]:
    """Ids of tasks from random places of its event files: the same ones each time."""
    chooser = random.Random(1)
    files: list[Path] = [path for path in synthetic.event_files if "job_events" in path.parts]
    found: list[str] = []
    while len(found) < count:
        with chooser.choice(files).open("rb") as file:
            file.seek(chooser.randrange(max(1, file.seek(0, 2) - 8192)))
            match = _TASK.search(file.read(8192))
        if match:
            found.append(base64.b64decode(match[1]).hex())
    return found
