"""The overview of recorded sessions: every number is what the rows of the State API give."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.catalogue import Catalogue
from shared.ray.error_text import common_part, headline
from shared.sessions import Session
from shared.settings import StorageSettings
from shared.snapshot_format import decompress
from shared.storage.factory import open_storage
from tests.data.recorded import OLDER, unpack_older
from tests.in_process import InProcess, add_session, in_process
from tests.published import loaded, publish
from workers.engine import PYTHON
from workers.entities.ends import TaskEnds
from workers.event_texts import texts
from workers.overview import task_digest
from workers.overview.task_digest import digest, merged
from workers.task_events.ranges import Ranges

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["2.60", *OLDER])
def bucket(request: pytest.FixtureRequest, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "2.60":
        return recorded / "bucket"
    return unpack_older(tmp_path_factory.mktemp("older"), request.param) / "bucket"


@pytest.fixture
async def server(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    async with in_process(bucket, monkeypatch) as running:
        yield running


def _sessions(bucket: Path) -> list[Session]:
    return list(Catalogue(open_storage(StorageSettings(storage=f"file://{bucket}")), 0).sessions())


async def _rows(server: InProcess, session: Session, resource: str) -> Rows:
    answer = await server.client.get(f"/sessions/{session.ref}/dashboard/api/v0/{resource}?detail=1&limit=10000")
    rows: Rows = answer.json()["data"]["result"]["result"]
    return rows


async def test_every_number_is_what_the_rows_of_the_state_api_give(server: InProcess, bucket: Path) -> None:
    groups = 0
    for session in _sessions(bucket):
        await publish(server, loaded(bucket, session))
        answer = await server.client.get(f"/sessions/{session.ref}/overview")
        assert answer.status_code == 200, answer.text
        told, overview = answer.json(), answer.json()["overview"]
        assert told["ref"] == str(session.ref)
        tasks, jobs, nodes, actors = [await _rows(server, session, name) for name in ("tasks", "jobs", "nodes", "actors")]
        _check_tasks(overview, tasks)
        _check_series(overview["series"], tasks, nodes)
        _check_longest(overview["slowest"], tasks, "start_time_ms", "end_time_ms")
        _check_longest(overview["longest_waits"], tasks, "creation_time_ms", "start_time_ms")
        by_job = {job: Counter(row["state"] for row in tasks if row["job_id"] == job) for job in {row["job_id"] for row in tasks}}
        assert {job["id"]: job["tasks"] for job in overview["jobs"]} == {
            row["job_id"] or row["submission_id"]: by_job.get(row["job_id"], {}) for row in jobs
        }
        failed_on = Counter((row["node_id"], row["error_type"]) for row in tasks if row["state"] == "FAILED")
        assert {(node["node_id"], one["name"]): one["count"] for node in overview["nodes"] for one in node["failed"]} == {
            place: count for place, count in failed_on.items() if place[0] in {row["node_id"] for row in nodes}
        }
        assert {node["node_id"]: node["state"] for node in overview["nodes"]} == {row["node_id"]: row["state"] for row in nodes}
        assert overview["actors"] == len(actors)
        assert sum(one["count"] for one in overview["actor_deaths"]) == sum(row["state"] == "DEAD" for row in actors)
        assert {row["actor_id"]: row["restarts"] for row in overview["restarted"]} == {
            row["actor_id"]: int(row["num_restarts"]) for row in actors if int(row["num_restarts"])
        }
        for job in by_job:
            of_job = (await server.client.get(f"/sessions/{session.ref}/overview", params={"job_id": job})).json()["overview"]
            _check_tasks(of_job, [row for row in tasks if row["job_id"] == job])
        groups += len(overview["failures"])
    assert groups >= 3, "what is recorded has failures of several kinds"


def _check_tasks(overview: dict[str, Any], tasks: Rows) -> None:
    assert overview["states"] == Counter(row["state"] for row in tasks)
    assert overview["retries"] == sum(row["attempt_number"] > 0 for row in tasks)
    assert len(overview["functions"]) + overview["functions_more"] == len({(row["name"], row["type"]) for row in tasks})
    for function in overview["functions"]:
        own = [row for row in tasks if (row["name"], row["type"]) == (function["name"], function["type"])]
        assert function["attempts"] == len(own)
        assert function["failed"] == sum(row["state"] == "FAILED" for row in own)
        assert function["retries"] == sum(row["attempt_number"] > 0 for row in own)
        assert function["running"] == _spread(own, "start_time_ms", "end_time_ms")
        assert function["waiting"] == _spread(own, "creation_time_ms", "start_time_ms")
    _check_failures(overview, [row for row in tasks if row["state"] == "FAILED"])


def _check_failures(overview: dict[str, Any], failed: Rows) -> None:
    """Group by group: which messages are alike is a rule of `shared.ray.error_text`, everything else is counted here."""
    expected: dict[tuple[str, str], Rows] = {}
    for row in failed:
        expected.setdefault((row["error_type"] or "", common_part(headline(row["error_message"] or ""))), []).append(row)
    found = {(group["error_type"], common_part(group["message"])): group for group in overview["failures"]}
    assert len(found) == len(overview["failures"]), "no two groups are of one kind"
    assert len(expected) == len(found) + overview["failures_more"]
    for kind, group in found.items():
        own = expected[kind]
        assert group["count"] == len(own)
        for shown, column in (("functions", "name"), ("nodes", "node_id")):
            counts = Counter(row[column] for row in own if row[column])
            assert [one["count"] for one in group[shown]] == sorted(counts.values(), reverse=True)[:10]
            assert {one["name"]: one["count"] for one in group[shown]}.items() <= counts.items()
            assert group[f"{shown}_more"] == len(counts) - len(group[shown])
        ends = [row["end_time_ms"] for row in own if row["end_time_ms"]]
        assert (group["first_ms"], group["last_ms"]) == (min(ends, default=None), max(ends, default=None))
        attempt = group["example"]["task_id"], group["example"]["attempt_number"]
        (example,) = [row for row in own if (row["task_id"], row["attempt_number"]) == attempt]
        assert example["end_time_ms"] == group["first_ms"], "the first of them"
        assert {name: example[name] for name in group["example"]} == group["example"]
        assert group["message"] in (example["error_message"] or "")
        assert group["example_message"].partition("\n...\n")[0] in (example["error_message"] or "")


def _durations(rows: Rows, begin: str, end: str) -> list[int]:
    return sorted(max(0, int(row[end] - row[begin])) for row in rows if row[begin] is not None and row[end] is not None)


def _spread(rows: Rows, begin: str, end: str) -> dict[str, int] | None:
    found = _durations(rows, begin, end)
    if not found:
        return None
    p50, p95 = (min(_three_digits(found[math.ceil(len(found) * share / 100) - 1]), found[-1]) for share in (50, 95))
    return {"count": len(found), "total_ms": sum(found), "p50_ms": p50, "p95_ms": p95, "max_ms": found[-1]}


def _three_digits(value: int) -> int:
    unit = 10 ** max(0, len(str(value)) - 3)
    return (value + unit // 2) // unit * unit


def _check_longest(shown: Rows, tasks: Rows, begin: str, end: str) -> None:
    longest = _durations(tasks, begin, end)[::-1][:20]
    assert [int(row[end] - row[begin]) for row in shown] == longest
    by_attempt = {(row["task_id"], row["attempt_number"]): row for row in tasks}
    for row in shown:
        assert {name: by_attempt[row["task_id"], row["attempt_number"]][name] for name in row} == row


def _check_series(series: dict[str, Any], tasks: Rows, nodes: Rows) -> None:
    """At the end of each span, from every row that began or ended before."""
    step = series["step_ms"]
    assert 1 <= len(series["waiting"]) <= 301
    left = [row["start_time_ms"] if row["start_time_ms"] is not None else row["end_time_ms"] for row in tasks]
    spans = len(series["waiting"])
    for at in sorted({0, *range(spans // 2, spans // 2 + 20), *range(0, spans, 11), spans - 1}):
        if at >= spans:
            continue
        until = series["start_ms"] + (at + 1) * step

        def before(moment: float | None, until: int = until) -> bool:
            return bool(moment) and moment < until  # type: ignore[operator]

        assert series["waiting"][at] == sum(
            before(r["creation_time_ms"]) and not before(out) for r, out in zip(tasks, left, strict=True)
        ), at
        assert series["running"][at] == sum(before(row["start_time_ms"]) and not before(row["end_time_ms"]) for row in tasks)
        for state, name in (("FINISHED", "finished"), ("FAILED", "failed")):
            assert series[name][at] == sum(row["state"] == state and before(row["end_time_ms"]) for row in tasks)
        if nodes:
            assert series["nodes"][at] == sum(before(row["start_time_ms"]) and not before(row["end_time_ms"]) for row in nodes)


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_digests_of_ranges_add_up_to_that_of_all(recorded: Path, engine: str) -> None:
    (session,) = [one for one in _sessions(recorded / "bucket") if "785172" in one.session]
    documents = {name: data for name, data in loaded(recorded / "bucket", session, engine).fields.items() if "overview" in name}
    files = sorted((recorded / "bucket" / "cluster-history").glob(f"**/{session.session}/**/*_events/**/*.jsonl"))
    chunks = [text for file in files for text in texts([file.read_bytes()], 1 << 26, 1 << 40)]

    def digests(count: int) -> Any:
        splitter = PYTHON.splitter(Ranges(count))
        for chunk in chunks:
            splitter.feed(chunk)
        parts = [PYTHON.merge_range(number, [records], TaskEnds()) for number, records in enumerate(splitter.take())]
        return merged(digest(part.rows) for part in parts)

    whole, in_parts = digests(1), digests(5)
    assert len(documents) == 10
    assert dict(whole.functions) == dict(in_parts.functions)
    assert dict(whole.failures) == dict(in_parts.failures)
    assert (whole.retries, dict(whole.failed_on)) == (in_parts.retries, dict(in_parts.failed_on))
    assert [one.ms for one in whole.longest_waits] == [one.ms for one in in_parts.longest_waits]
    span = 1_795_460_440_000, 1_795_460_680_000
    assert whole.series.series([], *span) == in_parts.series.series([], *span)


def test_a_defect_of_ours_costs_the_overview_and_is_said(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = _sessions(recorded / "bucket")[0]

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(task_digest, "series_digest", broken)
    run = loaded(recorded / "bucket", session)
    assert [(file, code) for file, code, _ in run.lost] == [("overview, range 0", "internal_error")]
    document = json.loads(b"".join(map(decompress, _pieces(run.fields["d:session/overview"]))))
    assert document["functions"] == []
    assert sum(document["states"].values()) > 0


def _pieces(field: bytes) -> list[bytes]:
    return msgspec.msgpack.decode(field, type=list[bytes])


async def test_the_page_is_served_for_a_loaded_session_and_loads_nothing_from_elsewhere(server: InProcess, bucket: Path) -> None:
    session = _sessions(bucket)[0]
    await publish(server, loaded(bucket, session))
    page = await server.client.get(f"/sessions/{session.ref}/overview", headers=BROWSER)
    assert (page.status_code, page.headers["vary"]) == (200, "Accept")
    assert "unsafe" not in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert all(address.startswith(("../", "dashboard/")) for address in named)
    own = [address for address in named if "/pages/" in address]
    assert len(own) == 5
    for address in own:
        assert (await server.client.get(str(page.url.join(address)))).status_code == 200
    packed = await server.client.get(f"/sessions/{session.ref}/overview", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["ref"] == str(session.ref)


async def test_what_is_not_loaded_is_said_and_browsers_wait_on_the_loading_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch) as server:
        answer = await server.client.get(f"/sessions/{ref}/overview")
        assert (answer.status_code, answer.json()["code"]) == (503, "loading")
        assert answer.headers["retry-after"]
        page = await server.client.get(f"/sessions/{ref}/overview?job_id=01000000", headers=BROWSER)
        assert page.status_code == 303
        assert str(page.url.join(page.headers["location"])).endswith(f"/sessions/{ref}/?next=overview%3Fjob_id%3D01000000")
        latest = await server.client.get(f"/sessions/{ref.rpartition('/')[0]}/latest/overview", headers=BROWSER)
        assert str(latest.url.join(latest.headers["location"])).endswith(f"/sessions/{ref}/overview")
        unknown = await server.client.get(f"/sessions/{ref}/overview?job=1")
        assert (unknown.status_code, unknown.json()["code"]) == (400, "invalid_request")
