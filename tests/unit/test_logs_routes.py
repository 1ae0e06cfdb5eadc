"""The logs' routes over a small bucket and small tables: what is found by what, and live's errors."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api.dashboard.logs.routes import routes
from shared.errors import StorageUnavailable
from shared.sessions import Session
from shared.storage.local import LocalStorage
from shared.storage.port import ObjectInfo
from tests.memory_snapshot import MemorySnapshot
from tests.unit.dashboard_app import dashboard_app

SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")
LOGS = f"/tmp/ray/{SESSION.session}/logs"
HEAD, GONE, NEVER = "2a" * 28, "c0" * 28, "00" * 28
WORKER, OTHER_WORKER = "77" * 28, "88" * 28
JOB = "03000000"
TASK, ACTOR_TASK, UNPLACED, RUNNING = ("ab" * 20 + JOB, "cd" * 20 + JOB, "ef" * 20 + JOB, "01" * 20 + JOB)
ACTOR, PENDING, INIT_FAILED = ("ac" * 12 + JOB, "ad" * 12 + JOB, "ae" * 12 + JOB)


def _log_info(worker: str, start: int, end: int | None) -> dict[str, Any]:
    name = f"{LOGS}/worker-{worker}-{JOB}-111"
    return {"stdout_file": f"{name}.out", "stderr_file": f"{name}.err", "stdout_start": start, "stdout_end": end}


def _task(task_id: str, attempt: int = 0, **columns: Any) -> dict[str, Any]:
    return {"task_id": task_id, "attempt_number": attempt, "job_id": JOB, "node_id": HEAD, "worker_id": WORKER, **columns}


TABLES = {
    "nodes": [
        {"node_id": HEAD, "node_ip": "10.0.0.1", "state": "ALIVE", "start_time_ms": 5},
        {"node_id": "1b" * 28, "node_ip": "10.0.0.1", "state": "DEAD", "start_time_ms": 9},
        {"node_id": GONE, "node_ip": "10.0.0.3", "state": "DEAD", "start_time_ms": 7},
    ],
    "tasks": [
        _task(TASK, 0, task_log_info=_log_info(WORKER, 7, 21)),
        _task(TASK, 1, task_log_info=None),
        _task(ACTOR_TASK, actor_id=ACTOR, worker_id=OTHER_WORKER),
        _task(UNPLACED, node_id=None),
        _task(RUNNING, task_log_info=_log_info(WORKER, 21, None)),
        _task("02" * 20 + JOB, actor_id=INIT_FAILED, worker_id=OTHER_WORKER),
    ],
    "actors": [
        {"actor_id": ACTOR, "node_id": HEAD, "pid": 111, "state": "DEAD"},
        {"actor_id": PENDING, "node_id": None, "pid": 0, "state": "PENDING_CREATION"},
        {"actor_id": INIT_FAILED, "node_id": None, "pid": 0, "state": "DEAD"},
    ],
    "jobs": [
        {"job_id": JOB, "submission_id": "tasks-job", "driver_node_id": HEAD},
        {"job_id": None, "submission_id": "shell-job", "driver_node_id": None},
        {"job_id": "04000000", "submission_id": "no-log-job", "driver_node_id": HEAD},
    ],
}
FILES = {
    f"{HEAD}/logs/raylet.out": b"".join(b"line %d\n" % n for n in range(2000)),
    f"{HEAD}/logs/raylet.err": b"",
    f"{HEAD}/logs/worker-{WORKER}-{JOB}-111.out": b"before\nmine 1\nmine 2\nafter\n",
    f"{HEAD}/logs/worker-{WORKER}-{JOB}-111.err": b"\x1b[31mred\x1b[0m\n",
    f"{HEAD}/logs/worker-{WORKER}-04000000-111.out": b"the same pid, another job\n",
    f"{HEAD}/logs/old/worker-{OTHER_WORKER}-{JOB}-222.out": b"moved\n",
    f"{HEAD}/logs/packed.log.gz": gzip.compress(b"packed\n" * 3),
    f"{HEAD}/logs/job-driver-tasks-job.log": b"driver\n",
    f"{HEAD}/logs/events/event_GCS.log": b"{}\n",
    f"{GONE}/logs/job-driver-shell-job.log": b"only-shell\n",
    f"{HEAD}/node_events/secret.jsonl": b"not a log",
}


class _Storage(LocalStorage):
    """Counts listings; breaks when told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listings = 0
        self.broken = False

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.listings += 1
        self._check_broken()
        return super().list(prefix)

    def size(self, key: str) -> int:
        self._check_broken()
        return super().size(key)

    def _check_broken(self) -> None:
        if self.broken:
            raise StorageUnavailable("cannot look")


@pytest.fixture
def storage(tmp_path: Path) -> _Storage:
    for name, data in FILES.items():
        file = tmp_path / f"cluster-history/raycluster/default/raycap/{SESSION.session}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return _Storage(tmp_path)


@pytest.fixture
async def client(storage: _Storage) -> AsyncIterator[httpx.AsyncClient]:
    within = SimpleNamespace(session=SESSION, snapshot=MemorySnapshot(TABLES), storage=storage, browser=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard_app(within, routes)), base_url="http://history") as client:
        yield client


async def _file(client: httpx.AsyncClient, query: str, media_type: str = "file") -> httpx.Response:
    return await client.get(f"/api/v0/logs/{media_type}?{query}")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"node_id={HEAD}&filename=raylet.out&lines=2", "line 1998\nline 1999\n"),
        (f"node_id={HEAD.upper()}&filename=raylet.out&lines=1", "line 1999\n"),
        ("node_ip=10.0.0.1&filename=raylet.out&lines=1", "line 1999\n"),
        (f"node_id={HEAD}&filename=raylet.err", ""),
        (f"node_id={HEAD}&filename=packed.log&lines=2", "packed\npacked\n"),
        (f"node_id={HEAD}&filename=packed.log.gz&lines=-1", "packed\n" * 3),
        (f"node_id={HEAD}&filename=events/event_GCS.log", "{}\n"),
        (f"node_id={HEAD}&filename=worker-{OTHER_WORKER}-{JOB}-222.out", "moved\n"),
        (f"node_id={HEAD}&filename={LOGS}/old/worker-{OTHER_WORKER}-{JOB}-222.out", "moved\n"),
        (f"node_id={HEAD}&filename=worker-{WORKER}-{JOB}-111.err", "\x1b[31mred\x1b[0m\n"),
        (f"node_id={HEAD}&filename=worker-{WORKER}-{JOB}-111.err&filter_ansi_code=true", "red\n"),
        (f"task_id={TASK}", "mine 1\nmine 2\n"),
        (f"task_id={TASK}&attempt_number=0&lines=1", "mine 2\n"),
        (f"task_id={RUNNING}&lines=-1", "after\n"),
        (f"actor_id={ACTOR}", "before\nmine 1\nmine 2\nafter\n"),
        (f"actor_id={ACTOR}&suffix=err&filter_ansi_code=true", "red\n"),
        (f"actor_id={INIT_FAILED}", "moved\n"),
        (f"node_id={HEAD}&pid=222", "moved\n"),
        ("submission_id=tasks-job", "driver\n"),
        ("submission_id=shell-job&lines=-1", "only-shell\n"),
    ],
)
async def test_a_log_is_found_by_what_names_it(client: httpx.AsyncClient, query: str, expected: str) -> None:
    answer = await _file(client, query)
    assert (answer.status_code, answer.text) == (200, expected)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == 'attachment; filename="file.txt"'
    assert (await _file(client, query, "stream")).text == expected


async def test_without_lines_the_last_thousand_come(client: httpx.AsyncClient) -> None:
    for lines in ("", "&lines=1000", "&lines=0"):
        assert (await _file(client, f"node_id={HEAD}&filename=raylet.out{lines}")).text.splitlines()[0] == "line 1000"
    assert len((await _file(client, f"node_id={HEAD}&filename=raylet.out&lines=-1")).text.splitlines()) == 2000


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (f"node_id={HEAD}&filename=nope.log", f"A file is not found at: {LOGS}/nope.log"),
        (f"node_id={HEAD}&filename=events", f"A file is not found at: {LOGS}/events"),
        (f"node_id={HEAD}&filename=../../etc/passwd", "A file is not found at: /tmp/ray/etc/passwd"),
        (f"node_id={HEAD}&filename=/etc/passwd", "A file is not found at: /etc/passwd"),
        (f"node_id={HEAD}&filename=../node_events/secret.jsonl", "A file is not found at: "),
        (f"node_id={HEAD}&filename=%00", "A file is not found at: "),
        (f"node_id={HEAD}&filename={'x' * 3000}", "A file is not found at: "),
        (f"node_id={GONE}&filename=raylet.out", "A file is not found at: "),
        (f"node_id={NEVER}&filename=raylet.out", f"Agent for node id: {NEVER} doesn't exist."),
        ("node_id=zz&filename=raylet.out", "Non-hexadecimal digit found"),
        ("node_id=../../x&filename=raylet.out", "Odd-length string"),
        ("node_id=abcd&filename=raylet.out", "ID string needs to have length 28, got 2"),
        ("node_ip=1.2.3.4&filename=raylet.out", "Cannot find matching node_id for a given node ip 1.2.3.4"),
        (f"task_id={'00' * 24}", f"Could not find log file for task: {'00' * 24} (attempt 0) with suffix: out"),
        ("task_id=zz", "Non-hexadecimal digit found"),
        (f"task_id={TASK}&attempt_number=7", f"Could not find log file for task attempt:{TASK}(7)"),
        (f"task_id={TASK}&attempt_number=1", f"Could not find log file for task attempt:{TASK}(1).Worker id = {WORKER}, node id = {HEAD},"),
        (f"task_id={UNPLACED}", f"Could not find log file for task attempt.{UNPLACED}(0) due to missing node info."),
        (f"task_id={ACTOR_TASK}", f"For actor task, please query actor log for actor({ACTOR}): e.g. ray logs actor --id {ACTOR} . Or"),
        (f"actor_id={'00' * 16}", f"Actor ID ActorID({'00' * 16}) not found."),
        (f"actor_id={PENDING}", f"Worker ID for Actor ID ActorID({PENDING}) not found. Actor is not scheduled yet."),
        (
            f"node_id={HEAD}&pid=99999",
            f"Could not find a log file. Please make sure the given option exists in the cluster.\n\tnode_id: {HEAD}",
        ),
        ("submission_id=nope", "Could not find a log file."),
        ("submission_id=no-log-job", "Could not find a log file."),
        ("submission_id=../../../node_events/secret.jsonl", "Could not find a log file."),
    ],
)
async def test_what_is_not_there_has_live_s_error(client: httpx.AsyncClient, query: str, said: str) -> None:
    answer = await _file(client, query)
    assert answer.status_code == (400 if "digit" in said or said.startswith(("Odd", "ID string")) else 404)
    assert answer.text.startswith(said)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("query", "media_type", "said"),
    [
        ("", "file", "which node?"),
        (f"node_id={HEAD}", "file", "which log?"),
        ("filename=raylet.out", "file", "which node?"),
        (f"node_id={HEAD}&node_ip=10.0.0.1&filename=raylet.out", "file", "node_id and node_ip are both given"),
        (f"node_id={HEAD}&filename=raylet.out&lines=abc", "file", "lines='abc' is no whole number"),
        (f"node_id={HEAD}&filename=raylet.out&timeout=", "file", "timeout='' is no whole number"),
        (f"node_id={HEAD}&pid=1x", "file", "pid='1x' is no whole number"),
        (f"task_id={TASK}&attempt_number=first", "file", "attempt_number='first' is no whole number"),
        (f"task_id={TASK}&suffix=log", "file", "suffix='log' is none of out, err"),
        (f"node_id={HEAD}&filename=raylet.out&interval=1", "file", "interval belongs to a stream"),
        (f"node_id={HEAD}&filename=raylet.out&interval=soon", "stream", "interval='soon' is no number"),
        (f"node_id={HEAD}&filename=raylet.out", "tail", "'tail' is no kind of log: ask for file or stream"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(client: httpx.AsyncClient, query: str, media_type: str, said: str) -> None:
    answer = await _file(client, query, media_type)
    assert answer.status_code == 400
    assert answer.text.startswith(said)


async def test_the_download_s_name_cannot_end_the_header(client: httpx.AsyncClient) -> None:
    query = f"node_id={HEAD}&filename=raylet.out&lines=1&download_filename="
    assert (await _file(client, query + "my%20file.txt")).headers["content-disposition"] == 'attachment; filename="my file.txt"'
    assert (await _file(client, query + "%22;%20x=%22")).headers["content-disposition"] == 'attachment; filename="\\"; x=\\""'
    euro = await _file(client, query + "%E2%82%AC.txt")
    assert (b"content-disposition", 'attachment; filename="€.txt"'.encode()) in euro.headers.raw
    assert (await _file(client, query + "a%0d%0aX-Evil:%201")).status_code == 400


async def test_a_listing_has_live_s_categories(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/api/v0/logs?node_id={HEAD}")
    assert answer.json() == {
        "result": True,
        "msg": "",
        "data": {
            "result": {
                "internal": ["events/", "job-driver-tasks-job.log", "old/", "packed.log.gz"],
                "raylet": ["raylet.err", "raylet.out"],
                "worker_out": [f"worker-{WORKER}-{JOB}-111.out", f"worker-{WORKER}-04000000-111.out"],
                "worker_err": [f"worker-{WORKER}-{JOB}-111.err"],
            }
        },
    }
    assert (await client.get("/api/v0/logs?node_ip=10.0.0.1")).json() == answer.json()
    found = (await client.get("/api/v0/logs", params={"node_id": HEAD, "glob": "**/*222*"})).json()["data"]["result"]
    assert found == {"worker_out": [f"old/worker-{OTHER_WORKER}-{JOB}-222.out"]}
    assert (await client.get(f"/api/v0/logs?node_id={HEAD}&glob=nomatch*")).json()["data"]["result"] == {}
    assert (await client.get(f"/api/v0/logs?node_id={'1b' * 28}")).json()["data"]["result"] == {}, "a node that left no logs"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "Both node id and node ip are not provided. Please provide at least one of them."),
        ("?node_ip=1.2.3.4", 404, "Cannot find matching node_id for a given node ip 1.2.3.4"),
    ],
)
async def test_a_listing_of_nothing_says_why(client: httpx.AsyncClient, query: str, status: int, said: str) -> None:
    answer = await client.get(f"/api/v0/logs{query}")
    assert answer.status_code == status
    assert answer.json() == {"result": False, "msg": said, "data": {"result": None}}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        (f"node_id={NEVER}", 404, f"there is no node {NEVER} in this session"),
        ("node_id=zz", 400, "Non-hexadecimal digit found"),
        (f"node_id={HEAD}&glob=../*", 400, "glob='../*': expected a pattern"),
        (f"node_id={HEAD}&glob=", 400, "glob='': expected a pattern"),
        (f"node_id={HEAD}&timeout=x", 400, "timeout='x' is no whole number"),
    ],
)
async def test_a_listing_that_live_fails_for_says_why(client: httpx.AsyncClient, query: str, status: int, said: str) -> None:
    answer = await client.get(f"/api/v0/logs?{query}")
    assert answer.status_code == status
    assert answer.json()["result"] is False
    assert answer.json()["msg"].startswith(said)


async def test_a_node_is_listed_once_for_a_while(client: httpx.AsyncClient, storage: _Storage) -> None:
    for pattern in ("*", "events/*", "nomatch*"):
        await client.get("/api/v0/logs", params={"node_id": HEAD, "glob": pattern})
    assert storage.listings == 1


@pytest.mark.parametrize("address", [f"/api/v0/logs?node_id={HEAD}", f"/api/v0/logs/file?node_id={HEAD}&filename=raylet.out"])
async def test_a_store_that_cannot_be_asked_is_no_empty_answer(client: httpx.AsyncClient, storage: _Storage, address: str) -> None:
    storage.broken = True
    with pytest.raises(StorageUnavailable):
        await client.get(address)


async def test_a_head_request_reads_nothing_of_the_log(
    client: httpx.AsyncClient, storage: _Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the log is read")

    monkeypatch.setattr(storage, "stream", read)
    monkeypatch.setattr(storage, "read_range", read)
    for lines in (-1, 10):
        answer = await client.head(f"/api/v0/logs/file?node_id={HEAD}&filename=raylet.out&lines={lines}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-disposition"] == 'attachment; filename="file.txt"'
    assert (await client.head(f"/api/v0/logs/file?node_id={HEAD}&filename=none.out")).status_code == 404


async def test_packed_logs_are_listed_by_their_own_names(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"/api/v0/logs?node_id={HEAD}&glob=packed*")).json()["data"]["result"]
    assert found == {"internal": ["packed.log.gz"]}
    assert (await _file(client, f"node_id={HEAD}&filename=packed.log&lines=1")).text == "packed\n", "by the name that Ray gave it"
