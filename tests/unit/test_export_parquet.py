"""Parquet: every row once and with its types, whatever values it has, in one schema for all sessions."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from api.export import parquet
from api.export.formats import FORMATS
from shared.errors import ExtraMissing
from shared.ray.columns import ACTORS, NODES, PLACEMENT_GROUPS, RESOURCES, TASKS, Resource
from shared.sessions import Session
from tests.in_process import SESSION, InProcess, add_session, in_process
from tests.unit import session_events as made
from workers.snapshot_end import entity_fields, meta_field

REF = f"team-a/raycluster/seen/{SESSION}"
TIME = 1795460400123


def _written(resource: Resource, *pages: list[dict[str, Any]]) -> pq.ParquetFile:
    file = FORMATS["parquet"](resource, {"session": REF})
    content = file.head()
    for page in pages:
        content += file.rows([json.dumps(row).encode() for row in page])
    return pq.ParquetFile(io.BytesIO(content + file.end()))


def _left_out(file: pq.ParquetFile) -> Any:
    return json.loads(file.metadata.metadata[b"ray_history.left_out"])


def test_values_have_types() -> None:
    row = {
        "task_id": "a" * 48, "attempt_number": 2, "state": "FAILED", "worker_pid": 7, "required_resources": {"CPU": 1}, "events": [],
        "start_time_ms": float(TIME), "end_time_ms": None, "error_message": "null", "is_debugger_paused": False,
    }  # fmt: skip
    (read,) = _written(TASKS, [row]).read().to_pylist()
    assert read.keys() == set(TASKS.all)
    assert read["start_time_ms"] == datetime.fromtimestamp(TIME / 1000, UTC)
    assert json.loads(read["required_resources"]) == {"CPU": 1}
    plain = ("task_id", "attempt_number", "state", "worker_pid", "end_time_ms", "error_message", "is_debugger_paused")
    assert {name: read[name] for name in plain} == {name: row[name] for name in plain}
    assert (read["events"], read["name"], read["profiling_data"]) == ("[]", None, None)


def test_numbers_in_texts_are_numbers_and_no_time_is_null() -> None:
    (actor,) = _written(ACTORS, [{"actor_id": "a", "num_restarts": "3", "is_detached": True}]).read().to_pylist()
    assert (actor["num_restarts"], actor["is_detached"]) == (3, True)
    (node,) = _written(NODES, [{"node_id": "n", "start_time_ms": TIME, "end_time_ms": 0}]).read().to_pylist()
    assert (node["start_time_ms"].tzinfo is not None, node["end_time_ms"]) == (True, None)


def test_a_value_that_does_not_fit_costs_itself_and_is_said() -> None:
    rows: list[dict[str, Any]] = [
        {"task_id": "a", "worker_pid": "none", "start_time_ms": "noon", "name": 5},
        {"task_id": "b", "worker_pid": 10**30, "start_time_ms": TIME, "name": "\ud800"},
        {"task_id": "c", "worker_pid": 1},
    ]
    file = _written(TASKS, rows)
    read = file.read().to_pylist()
    assert [row["task_id"] for row in read] == ["a", "b", "c"]
    assert [row["worker_pid"] for row in read] == [None, None, 1]
    assert [row["name"] for row in read] == [None, "?", None]
    assert read[1]["start_time_ms"] is not None
    assert _left_out(file) == {"worker_pid": 2, "start_time_ms": 1, "name": 1}


def test_columns_that_only_some_versions_have_are_kept() -> None:
    file = _written(PLACEMENT_GROUPS, [{"placement_group_id": "p", "label_domain_key": "zone"}, {"placement_group_id": "q"}])
    assert [row["other"] for row in file.read().to_pylist()] == ['{"label_domain_key": "zone"}', None]


@pytest.mark.parametrize("name", ["tasks", "actors", "jobs", "nodes", "workers", "placement_groups"])
def test_the_schema_is_the_same_without_rows(name: str) -> None:
    resource = RESOURCES[name]
    empty = _written(resource)
    assert empty.schema_arrow.equals(_written(resource, [dict.fromkeys(resource.all)]).schema_arrow)
    assert empty.metadata.num_rows == 0
    assert empty.metadata.metadata[b"ray_history.session"] == REF.encode()
    assert {str(field.type) for field in empty.schema_arrow} <= {"string", "int64", "bool", "double", "timestamp[ms, tz=UTC]"}


def test_rows_leave_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 100)
    file = FORMATS["parquet"](ACTORS, {})
    rows = [json.dumps({"actor_id": f"{number:032x}"}).encode() for number in range(60)]
    assert (file.head(), file.rows(rows)) == (b"PAR1", b"")
    group = file.rows(rows)
    assert group
    read = pq.ParquetFile(io.BytesIO(b"PAR1" + group + file.rows(rows) + file.end()))
    assert (read.metadata.num_row_groups, read.metadata.num_rows) == (2, 180)


_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers())
_rows = st.lists(st.dictionaries(st.sampled_from([*TASKS.all, "more"]), _values), max_size=4)


@settings(deadline=None, max_examples=50)
@given(_rows)
def test_any_row_is_a_row(rows: list[dict[str, Any]]) -> None:
    file = _written(TASKS, rows)
    assert file.metadata.num_rows == len(rows)
    read = file.read().to_pylist()
    for row, found in zip(rows, read, strict=True):
        assert found["required_resources"] is None or json.loads(found["required_resources"]) == row["required_resources"]
    left_out = {name for row in rows for name, value in row.items() if name in TASKS.all and value is not None}
    assert set(_left_out(file)) <= left_out


@settings(deadline=None, max_examples=50)
@given(_rows)
def test_rows_and_single_values_say_the_same(rows: list[dict[str, Any]]) -> None:
    """The fast way gives what the careful one does, where it gives anything."""
    file = parquet.Parquet(TASKS, {})
    texts = [json.dumps(row).encode() for row in rows]
    fast, careful = file._batch(texts), file._by_value(texts)
    json_columns = [column.name for column in TASKS.columns if column.type == "json"]
    assert fast.drop_columns(json_columns).equals(careful.drop_columns(json_columns))


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch) as running:
        entities = made.built([*made.two_nodes(), *(made.actor_defined(f"{number:032x}") for number in range(1, 5_001))], made.stored())
        tables, fields = entity_fields(entities)
        fields |= meta_field(tables, losses=[], loss_count=0, counts={}, ray_version="2.60.0")
        keys, redis = running.app.state.keyspace.session(Session("team-a", "seen", SESSION).key), running.app.state.redis
        await redis.hset(keys.snapshot("1.1"), mapping=fields)
        await redis.set(keys.loaded, "1.1")
        await redis.hset(keys.status, mapping={"state": "loaded", "id": "1.1", "complete": 1})
        await redis.hset(keys.progress("1.1"), mapping={"x": "{}"})
        yield running


async def test_duckdb_reads_what_the_rows_say(server: InProcess, tmp_path: Path) -> None:
    answer = await server.client.get(f"/sessions/{REF}/export", params={"what": "actors", "format": "parquet"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    assert answer.headers["content-disposition"] == f'attachment; filename="seen-{SESSION}-actors.parquet"'
    file = tmp_path / "actors.parquet"
    file.write_bytes(answer.content)
    lines = await server.client.get(f"/sessions/{REF}/export", params={"what": "actors"})
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert len(rows) == 5_000
    found = duckdb.connect().execute(f"SELECT actor_id, state, num_restarts FROM '{file}'").fetchall()
    assert found == [(row["actor_id"], row["state"], int(row["num_restarts"])) for row in rows]
    about = pq.ParquetFile(file).metadata.metadata
    assert {name: about[f"ray_history.{name}".encode()].decode() for name in ("session", "complete", "ray_version", "left_out")} == {
        "session": REF, "complete": "true", "ray_version": "2.60.0", "left_out": "{}",
    }  # fmt: skip


async def test_without_pyarrow_the_extra_is_named(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "api.export.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissing):
        FORMATS["parquet"](ACTORS, {})
    answer = await server.client.get(f"/sessions/{REF}/export", params={"what": "actors", "format": "parquet"})
    assert (answer.status_code, answer.json()["code"]) == (501, "extra_missing")
    assert "ray-history-server[parquet]" in answer.json()["detail"]
    assert (await server.client.get(f"/sessions/{REF}/export", params={"what": "actors"})).status_code == 200
