"""Which files a load reads: what is not there any more is no empty session, and what was told later is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from shared.errors import SessionDeleted
from shared.sessions import Session
from shared.storage.local import LocalStorage
from shared.storage.local_writer import LocalWriter
from tests.in_process import SESSION, add_session, in_process
from tests.published import MemoryRun
from workers.event_files import SessionFiles, list_files
from workers.load_run import LoadRun

NAME = SESSION
FOLDER = f"cluster-history/raycluster/ns/c/{NAME}"


def _listed(bucket: Path, session: Session | None = None) -> SessionFiles:
    return list_files(cast("LoadRun", MemoryRun(session or Session("ns", "c", NAME))), LocalStorage(bucket))


@pytest.mark.parametrize(
    "marker", [f"cluster-metadata/raycluster/ns_c/{NAME}", f"cluster-metadata/rayjob/ns_j_c/{NAME}", f"metadir/c_ns/{NAME}"]
)
def test_a_marker_and_nothing_else_is_an_empty_session(tmp_path: Path, marker: str) -> None:
    LocalWriter(tmp_path).put(marker, b"")
    assert _listed(tmp_path, Session("ns", "c", NAME, "rayjob", "j")).none


def test_neither_marker_nor_file_is_no_session(tmp_path: Path) -> None:
    LocalWriter(tmp_path).put(f"cluster-metadata/raycluster/ns_c/{NAME}2", b"")
    with pytest.raises(SessionDeleted, match="nothing of ns/c/"):
        _listed(tmp_path)


def test_a_report_that_came_later_changes_what_the_bucket_holds(tmp_path: Path) -> None:
    """The collector says last what it lost."""
    writer = LocalWriter(tmp_path)
    writer.put(f"{FOLDER}/n/node_events/n-2026-11-23-19.jsonl", b"{}")
    before = _listed(tmp_path).digest()
    writer.put(f"{FOLDER}/n/collector.json", b'{"version": 1, "node": "n", "session": "s", "role": "head", "began": "b", "losses": []}')
    assert _listed(tmp_path).digest() != before


async def test_a_load_that_found_nothing_is_an_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list that named the session is some seconds old."""
    async with in_process(tmp_path, monkeypatch) as server:
        ref = add_session(tmp_path, "ns", "c")
        keys, redis = server.app.state.keyspace.session(Session("ns", "c", SESSION).key), server.app.state.redis
        failed = {"state": "failed", "retry_at": 2**52, "error_code": "session_deleted", "error_message": "nothing left"}
        await redis.hset(keys.status, mapping=failed)
        for path in (f"/enter_cluster/{ref}", f"/sessions/{ref}/dashboard/api/v0/tasks", f"/sessions/{ref}/overview"):
            answer = await server.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
