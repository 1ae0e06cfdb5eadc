"""Task logs of Ray before 2.58: a task's own lines by the markers in its worker's file, or a clear error; never another task's."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api.dashboard.logs import task_lines
from api.dashboard.logs.content import LogFile
from api.dashboard.logs.routes import routes
from api.dashboard.logs.task_lines import NotSure, lines_before, lines_of_run
from shared.sessions import Session
from shared.storage.local import LocalStorage
from tests.memory_snapshot import MemorySnapshot
from tests.unit.dashboard_app import dashboard_app

SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")
NODE, WORKER, JOB = "2a" * 28, "77" * 28, "03000000"
PIECES = [
    b":job_id:03000000\n",
    b":task_name:f\n", b"f one\n",
    b":task_name:g\n", b"",
    b":task_name:f\n", b"f two, no newline",
    b":task_name:odd: 50% \xc3\xbc\n", b"mine\n",
]  # fmt: skip
ENDS = [sum(map(len, PIECES[: at + 1])) for at in range(len(PIECES))]
NAMES = ["f", "g", "f", "odd: 50% ü"]
OUTPUTS = [piece.decode() for piece in PIECES[2::2]]


def _task_id(number: int) -> str:
    return f"{number:02x}" * 20 + JOB


def _tasks(**columns: Any) -> list[dict[str, Any]]:
    same = {"attempt_number": 0, "type": "NORMAL_TASK", "job_id": JOB, "node_id": NODE, "worker_id": WORKER}
    return [{"task_id": _task_id(at), "name": name, "start_time_ms": 10.0 + at, **same, **columns} for at, name in enumerate(NAMES)]


def _with_ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As 2.55 exports them: defaults for what a flush lost."""
    for at, row in enumerate(rows):
        row["task_log_info"] = {"stdout_file": "", "stdout_start": 0, "stdout_end": ENDS[2 + 2 * at], "stderr_end": 0}
    return rows


async def _log(root: Path, rows: list[dict[str, Any]], number: int, *, version: str = "2.55.1") -> httpx.Response:
    scope_of = SimpleNamespace(
        session=SESSION, snapshot=MemorySnapshot({"tasks": rows}, ray_version=version), storage=LocalStorage(root), browser=False
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard_app(scope_of, routes)), base_url="http://history") as client:
        return await client.get(f"/api/v0/logs/file?task_id={_task_id(number)}&lines=-1")


def _place(root: Path, content: bytes, name: str = f"worker-{WORKER}-ffffffff-111.out") -> LogFile:
    key = f"cluster-history/raycluster/default/raycap/{SESSION.session}/{NODE}/logs/{name}"
    (root / key).parent.mkdir(parents=True, exist_ok=True)
    (root / key).write_bytes(content)
    return LogFile(key, len(content))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that markers lie across them."""
    monkeypatch.setattr(task_lines, "_BLOCK", 7)


@pytest.mark.parametrize("number", range(4))
async def test_lines_up_to_their_exported_end(tmp_path: Path, number: int) -> None:
    _place(tmp_path, b"".join(PIECES))
    answer = await _log(tmp_path, _with_ends(_tasks()), number)
    assert (answer.status_code, answer.text) == (200, OUTPUTS[number])


@pytest.mark.parametrize("number", range(4))
async def test_without_any_information_by_the_order_of_the_workers_tasks(tmp_path: Path, number: int) -> None:
    _place(tmp_path, b"".join(PIECES), f"old/worker-{WORKER}-{JOB}-111.out")
    answer = await _log(tmp_path, _tasks(task_log_info=None), number, version="2.54.1")
    assert (answer.status_code, answer.text) == (200, OUTPUTS[number])


async def test_an_attempt_that_ray_never_gave_a_log_has_none(tmp_path: Path) -> None:
    _place(tmp_path, b"".join(PIECES))
    answer = await _log(tmp_path, _tasks(task_log_info=None), 2)
    assert answer.status_code >= 400
    assert "log_info = None" in answer.text


async def test_a_worker_of_which_tasks_were_lost_is_not_guessed_at(tmp_path: Path) -> None:
    _place(tmp_path, b"".join(PIECES))
    rows = [row for row in _tasks(task_log_info=None) if row["task_id"] != _task_id(0)]
    answer = await _log(tmp_path, rows, 2, version="2.54.1")
    assert answer.status_code >= 400
    assert "Ray 2.54.1 did not export which lines task attempt:" in answer.text
    assert (await _log(tmp_path, rows, 3, version="2.54.1")).text == "mine\n", "the only one of its name"


async def test_tasks_that_began_in_the_same_millisecond(tmp_path: Path) -> None:
    _place(tmp_path, b"".join(PIECES))
    answer = await _log(tmp_path, _tasks(task_log_info=None, start_time_ms=10.0), 2, version="2.54.1")
    assert "not known in which order" in answer.text
    assert (await _log(tmp_path, _tasks(task_log_info=None, start_time_ms=10.0), 1, version="2.54.1")).text == ""


async def test_another_tasks_marker_before_the_end(tmp_path: Path) -> None:
    _place(tmp_path, b"".join(PIECES))
    rows = _with_ends(_tasks())
    rows[1]["task_log_info"]["stdout_end"] = ENDS[2]
    answer = await _log(tmp_path, rows, 1)
    assert answer.status_code >= 400
    assert "no marker of 'g' stands before byte" in answer.text


async def test_a_worker_without_a_stored_file(tmp_path: Path) -> None:
    _place(tmp_path, b"", "raylet.out")
    answer = await _log(tmp_path, _with_ends(_tasks()), 1)
    assert answer.status_code >= 400
    assert "Could not find log file for task attempt:" in answer.text


def test_packed_logs(tmp_path: Path) -> None:
    file = _place(tmp_path, gzip.compress(b"".join(PIECES)), "worker.out.gz")
    storage = LocalStorage(tmp_path)
    first = lines_before(storage, file, "f", ENDS[2])
    assert (first.start, first.end) == (ENDS[1], ENDS[2])
    second = lines_of_run(storage, file, "f", 1, 2)
    assert (second.start, second.end) == (ENDS[5], ENDS[6])
    with pytest.raises(NotSure):
        lines_of_run(storage, file, "f", 0, 1)
