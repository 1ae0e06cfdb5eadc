"""Exports: every row of a session once, in each format, and nothing where there is no whole answer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.export.formats import Csv, Ndjson
from shared.ray.columns import ACTORS, RESOURCES
from shared.sessions import Session
from tests.in_process import SESSION, InProcess, add_session, in_process
from tests.unit import session_events as made
from workers.snapshot_end import entity_fields, meta_field

REF = f"team-a/raycluster/seen/{SESSION}"


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch) as running:
        yield running


async def _publish(server: InProcess, *, losses: int = 0) -> dict[str, int]:
    """A loaded session; how many rows each kind has."""
    secret = '{"env_vars": {"KEY": "secret"}}'
    actors = [made.actor_defined(f"{number:032x}", serializedRuntimeEnv=secret) for number in range(1, 2_501)]
    entities = made.built([*made.two_nodes(), *actors], made.stored())
    tables, fields = entity_fields(entities)
    keys, redis = server.app.state.keyspace.session(Session("team-a", "seen", SESSION).key), server.app.state.redis
    lost = [("file", "bad_gzip", "x")] * losses
    fields |= meta_field(tables, losses=lost, loss_count=losses, counts={}, ray_version=None)
    await redis.hset(keys.snapshot("1.1"), mapping=fields)
    await redis.set(keys.loaded, "1.1")
    await redis.hset(keys.status, mapping={"state": "loaded", "id": "1.1", "complete": 1})
    await redis.hset(keys.progress("1.1"), mapping={"x": "{}"})
    return {name: table.rows for name, table in tables.items()}


async def test_every_row_comes_once(server: InProcess) -> None:
    counts = await _publish(server)
    assert counts["actors"] == 2_500
    for what in ("actors", "nodes"):
        lines = await server.client.get(f"/sessions/{REF}/export", params={"what": what})
        assert lines.status_code == 200, lines.text
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert lines.headers["content-disposition"] == f'attachment; filename="seen-{SESSION}-{what}.ndjson"'
        assert lines.headers["x-ray-history-complete"] == "true"
        rows = [json.loads(line) for line in lines.text.splitlines()]
        listed = await server.client.get(f"/sessions/{REF}/dashboard/api/v0/{what}", params={"detail": 1, "limit": 10_000})
        assert rows == listed.json()["data"]["result"]["result"]
        table = await server.client.get(f"/sessions/{REF}/export", params={"what": what, "format": "csv"})
        records = list(csv.DictReader(io.StringIO(table.text, newline="")))
        key = RESOURCES[what].order_by
        assert [record[key] for record in records] == [row[key] for row in rows]
        assert len(records) == counts[what]
        assert set(records[0]) == set(RESOURCES[what].all)


@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("/sessions/{ref}/export?what=actors", "t:actors:"),
        ("/sessions/{ref}/export?what=actors&format=csv", "meta"),
        ("/sessions/{ref}/overview", "meta"),
        ("/compare?a={ref}&b={ref}", "meta"),
    ],
)
async def test_a_hole_that_is_found_is_loaded_anew(server: InProcess, path: str, lost: str) -> None:
    await _publish(server)
    redis, keys = server.app.state.redis, server.app.state.keyspace.session(Session("team-a", "seen", SESSION).key)
    fields = [field for field in await redis.hkeys(keys.snapshot("1.1")) if field.decode().startswith(lost)]
    await redis.hdel(keys.snapshot("1.1"), *fields)
    found = await server.client.get(path.format(ref=REF))
    assert (found.status_code, found.json()["code"]) == (503, "snapshot_damaged")
    assert not server.queue.sent
    assert (await server.client.get(path.format(ref=REF))).json()["code"] == "loading"
    assert server.queue.sent == [Session("team-a", "seen", SESSION).key]


async def test_nothing_is_a_file_without_rows(server: InProcess) -> None:
    await _publish(server, losses=1)
    empty = await server.client.get(f"/sessions/{REF}/export", params={"what": "placement_groups", "format": "csv"})
    assert (empty.status_code, len(empty.text.splitlines())) == (200, 1)
    assert empty.headers["x-ray-history-complete"] == "false"
    assert (await server.client.get(f"/sessions/{REF}/export", params={"what": "placement_groups"})).content == b""
    head = await server.client.head(f"/sessions/{REF}/export", params={"what": "actors"})
    assert (head.status_code, head.content) == (200, b"")


async def test_browsers_get_no_secrets(server: InProcess) -> None:
    await _publish(server)
    path = f"/sessions/{REF}/export?what=actors"
    assert "secret" in (await server.client.get(path)).text
    assert "secret" not in (await server.client.get(path, headers={"sec-fetch-mode": "navigate"})).text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{REF}/export", 503, "loading"),
        (f"{REF}/export?what=objects", 400, "invalid_request"),
        (f"{REF}/export?format=xlsx", 400, "invalid_request"),
        (f"{REF}/export?limit=3", 400, "invalid_request"),
        (f"{REF}/export?what=actors&job_id=01000000", 400, "invalid_request"),
        (f"{REF}/export?what=timeline&format=csv", 400, "invalid_request"),
        (f"{REF}/export?what=timeline", 503, "loading"),
        (f"{REF}/export?format=parquet", 503, "loading"),
        (f"{REF.replace('seen', 'other')}/export", 404, "session_not_found"),
    ],
)
async def test_what_is_no_file_is_said(server: InProcess, path: str, status: int, code: str) -> None:
    answer = await server.client.get(f"/sessions/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


_values = st.none() | st.booleans() | st.integers() | st.text() | st.dictionaries(st.text(), st.text()) | st.lists(st.integers())


@given(st.lists(st.dictionaries(st.sampled_from(ACTORS.all), _values), max_size=4))
def test_any_value_is_one_record(rows: list[dict[str, Any]]) -> None:
    texts = [json.dumps(row).encode() for row in rows]
    for kind in (Ndjson, Csv):
        written = kind(ACTORS, {})
        text = (written.head() + written.rows(texts) + written.end()).decode()
        if kind is Ndjson:
            assert [json.loads(line) for line in text.split("\n")[:-1]] == rows
        else:
            assert len(list(csv.reader(io.StringIO(text, newline="")))) == len(rows) + 1
