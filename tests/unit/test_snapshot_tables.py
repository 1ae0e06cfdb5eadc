"""Tables in blocks and columns against the plain meaning of a list, a filter and a limit."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.snapshots.filters import BadFilter, make_filter
from api.snapshots.table import Page
from shared.ray.columns import ACTORS, RESOURCES, TASKS, Resource
from shared.snapshot_format import LoadedColumn
from tests.memory_snapshot import MemorySnapshot
from tests.task_lines import FieldSnapshot
from workers.snapshot_end import task_table
from workers.snapshot_writer import BLOCK_ROWS, TablePart
from workers.task_events.render import COLUMNS

Row = dict[str, Any]
JOBS = ["01000000", "02000000", "03000000"]
STATES = ["RUNNING", "FINISHED", "FAILED"]


def _snapshot(parts: list[list[Row]], redactions: dict[str, str] | None = None) -> FieldSnapshot:
    """Task rows by part, in id order."""
    fields: dict[str, bytes] = {}
    indexes = []
    for number, rows in enumerate(parts):
        columns = {name: LoadedColumn.of([row[name] for row in rows]) for name in COLUMNS}
        base = [json.dumps({name: row[name] for name in TASKS.base}, separators=(",", ":"), ensure_ascii=False) for row in rows]
        rest = [
            "," + json.dumps({"language": row["language"], "error_message": row["name"] * 3}, separators=(",", ":"))[1:] for row in rows
        ]
        ids = [row["task_id"] for row in rows]
        part = TablePart("tasks", number)
        for row, short, more in zip(rows, base, rest, strict=True):
            part.add(row["job_id"], short, short[:-1] + more)
        index, written = part.finish(columns, ids, cluster_by="job_id", redactions=redactions)
        fields |= written
        indexes.append(index)
    return FieldSnapshot(fields, {"tasks": task_table(indexes)})


def _row(task_id: str, attempt: int, job: str, state: str, name: str, pid: int | None, error: str | None, paused: bool | None) -> Row:
    others = dict.fromkeys(["actor_id", "parent_task_id", "node_id", "worker_id", "placement_group_id"])
    return {
        **others,
        "task_id": task_id,
        "attempt_number": attempt,
        "name": name,
        "state": state,
        "job_id": job,
        "type": "NORMAL_TASK",
        "func_or_class_name": name,
        "worker_pid": pid,
        "error_type": error,
        "language": "PYTHON",
        "is_debugger_paused": paused,
    }


_ids = st.one_of(
    st.binary(min_size=24, max_size=24).map(bytes.hex), st.binary(min_size=8, max_size=8).map(lambda b: "ff" * 8 + b.hex() * 2)
)
_names = st.sampled_from(["work", "Work", "pläne", "a}b", "{", '"', "\\", "x\ny", ""])
_rows = st.builds(
    _row,
    _ids,
    st.integers(0, 2),
    st.sampled_from(JOBS),
    st.sampled_from(STATES),
    _names,
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([None, "WORKER_DIED"]),
    st.sampled_from([None, True, False]),
)
_filters = st.one_of(
    st.tuples(st.just("job_id"), st.sampled_from(["=", "!="]), st.sampled_from([*JOBS, "09000000"])),
    st.tuples(st.just("state"), st.sampled_from(["=", "!="]), st.sampled_from([*STATES, "finished", "x"])),
    st.tuples(st.just("name"), st.sampled_from(["=", "!="]), _names),
    st.tuples(st.just("attempt_number"), st.sampled_from(["=", "!="]), st.sampled_from(["0", "1", "7"])),
    st.tuples(st.just("worker_pid"), st.sampled_from(["=", "!="]), st.sampled_from(["0", "1", "7"])),
    st.tuples(st.just("error_type"), st.sampled_from(["=", "!="]), st.just("worker_died")),
)
Given = tuple[str, str, str]


def _expected(rows: list[Row], given_filters: list[Given]) -> list[Row]:
    """The meaning of filters, said again: text without case, an absent value passes none, others by their own type."""

    def passes(row: Row, column: str, predicate: str, text: str) -> bool:
        value = row[column]
        if column == "error_type" and value is None:
            return False
        if isinstance(value, str):
            same = value.lower() == text.lower()
        elif value is None:
            same = False
        else:
            same = value == int(text)
        if column == "worker_pid" and predicate == "!=":
            # Declared Optional in Ray, so the text is compared as it is: no number equals it.
            return True
        return same == (predicate == "=")

    return [row for row in rows if all(passes(row, *one) for one in given_filters)]


def _select(snapshot: MemorySnapshot, resource: Resource, given_filters: list[Given], source: list[Given] = [], **options: Any) -> Page:  # noqa: B006
    made = [[make_filter(resource, *one) for one in chosen] for chosen in (given_filters, source)]
    return asyncio.run(snapshot.table(resource.name).select(made[0], source=made[1], **{"limit": 10_000, "detail": False, **options}))


def _stream(snapshot: MemorySnapshot, given_filters: list[Given], source: list[Given], *, detail: bool) -> list[Page]:
    async def collected() -> list[Page]:
        made = [[make_filter(TASKS, *one) for one in chosen] for chosen in (given_filters, source)]
        return [page async for page in snapshot.table("tasks").stream(made[0], source=made[1], detail=detail)]

    return asyncio.run(collected())


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(_rows, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    filters=st.lists(_filters, max_size=3),
    source=st.lists(_filters, max_size=2),
    limit=st.integers(0, 45),
    detail=st.booleans(),
)
def test_select_is_filter_sort_and_cut(
    rows: list[Row], cuts: list[int], filters: list[Given], source: list[Given], limit: int, detail: bool
) -> None:
    # Attempts of one task are never in two parts, and never twice the same.
    rows = sorted(
        {(row["task_id"], row["attempt_number"]): row for row in rows}.values(), key=lambda r: (r["task_id"], -r["attempt_number"])
    )
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows) and rows[cut - 1]["task_id"] != rows[cut]["task_id"])})
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)] or [[]]
    page = _select(_snapshot(parts), TASKS, filters, source, limit=limit, detail=detail)
    within = _expected(rows, source)
    expected = _expected(within, filters)
    assert (page.total, page.num_filtered) == (len(within), len(expected))
    streamed = _stream(_snapshot(parts), filters, source, detail=detail)
    assert (sum(one.total for one in streamed), sum(one.num_filtered for one in streamed)) == (len(within), len(expected))
    every = _select(_snapshot(parts), TASKS, filters, source, detail=detail)
    assert [row for one in streamed for row in one.rows] == list(every.rows)
    assert [(found["task_id"], found["attempt_number"]) for found in map(json.loads, page.rows)] == [
        (row["task_id"], row["attempt_number"]) for row in expected[:limit]
    ]
    for text, row in zip(page.rows, expected, strict=False):
        found = json.loads(text)
        assert {name: found[name] for name in TASKS.base} == {name: row[name] for name in TASKS.base}
        assert ("error_message" in found) == detail


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(_rows, min_size=1, max_size=30, unique_by=lambda row: row["task_id"]), filters=st.lists(_filters, max_size=2))
def test_counts_by_columns_are_those_of_the_rows(rows: list[Row], filters: list[Given]) -> None:
    rows.sort(key=lambda row: str(row["task_id"]))
    half = len(rows) // 2
    snapshot = _snapshot([rows[:half], rows[half:]])
    made = [make_filter(TASKS, *one) for one in filters]
    found = asyncio.run(snapshot.table("tasks").column_counts(("name", "state", "worker_pid"), made))
    assert found == Counter((row["name"], row["state"], row["worker_pid"]) for row in _expected(rows, filters))


@pytest.mark.parametrize("count", [BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 7])
@pytest.mark.parametrize("jobs", ["012", "0121111111112", "011112"], ids=["alike", "few of the first", "most of one"])
def test_rows_lie_right_at_the_edges_of_blocks(count: int, jobs: str) -> None:
    rows = [
        _row(f"{number:048x}", 0, JOBS[int(jobs[number % len(jobs)])], STATES[number % 2], f"n{number}", None, None, None)
        for number in range(count)
    ]
    snapshot = _snapshot([rows])
    for job in (None, *JOBS):
        chosen: list[Given] = [("job_id", "=", job)] if job else []
        page = _select(snapshot, TASKS, chosen, detail=True)
        assert [json.loads(found)["name"] for found in page.rows] == [row["name"] for row in rows if job in (None, row["job_id"])]
    for number in (0, BLOCK_ROWS - 2, count - 1):
        (found,) = _select(snapshot, TASKS, [("task_id", "=", rows[number]["task_id"].upper())]).rows
        assert json.loads(found)["name"] == f"n{number}"


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(_ids, min_size=1, max_size=40, unique=True), cut=st.integers(0, 40))
def test_every_task_is_found_by_its_id(ids: list[str], cut: int) -> None:
    rows = [_row(task_id, attempt, JOBS[attempt], "RUNNING", task_id, None, None, None) for task_id in sorted(ids) for attempt in (1, 0)]
    snapshot = _snapshot([part for part in (rows[: 2 * cut], rows[2 * cut :]) if part])
    for task_id in ids:
        for source, others in (([("task_id", "=", task_id)], []), ([], [("task_id", "=", task_id)])):
            page = _select(snapshot, TASKS, others, source)
            assert [(row["task_id"], row["attempt_number"]) for row in map(json.loads, page.rows)] == [(task_id, 1), (task_id, 0)]


def test_ids_that_begin_alike_are_told_apart() -> None:
    rows = [_row("ab" * 8 + f"{number:032x}", 0, JOBS[0], "RUNNING", f"n{number}", None, None, None) for number in range(20)]
    snapshot = _snapshot([rows])
    for source in ([], [("task_id", "=", rows[7]["task_id"])]):
        page = _select(snapshot, TASKS, [("task_id", "=", rows[7]["task_id"])], source)
        assert [json.loads(found)["name"] for found in page.rows] == ["n7"]
    assert _select(snapshot, TASKS, [("task_id", "!=", rows[7]["task_id"])]).num_filtered == 19
    for text in ("", "ab", "zz" * 24, "ab" * 24, "x" * 48):
        assert _select(snapshot, TASKS, [("task_id", "=", text)]).num_filtered == 0


def test_browsers_get_rows_without_secrets() -> None:
    rows = [_row(f"{number:048x}", 0, JOBS[0], "RUNNING", f"secret{number}", None, None, None) for number in range(3)]
    snapshot = _snapshot([rows], {'"secret1"': '"hidden"'})
    assert [json.loads(row)["name"] for row in _select(snapshot, TASKS, [], browser=True).rows] == ["secret0", "hidden", "secret2"]
    assert [json.loads(row)["name"] for row in _select(snapshot, TASKS, []).rows] == ["secret0", "secret1", "secret2"]


def test_small_tables_keep_the_order_they_were_given_in() -> None:
    actors = [{"actor_id": f"{number:032x}", "state": STATES[number % 2], "pid": number, "class_name": "C"} for number in (3, 1, 2)]
    snapshot = MemorySnapshot({"actors": actors})
    assert [json.loads(row)["pid"] for row in _select(snapshot, ACTORS, []).rows] == [3, 1, 2]
    assert [json.loads(row)["pid"] for row in _select(snapshot, ACTORS, [("state", "=", "finished")]).rows] == [3, 1]
    (row,) = _select(snapshot, ACTORS, [("actor_id", "=", f"{2:032X}")], detail=True).rows
    assert tuple(json.loads(row)) == ACTORS.all


def test_an_empty_table_is_an_empty_list() -> None:
    for name, resource in RESOURCES.items():
        snapshot = _snapshot([[]]) if name == "tasks" else MemorySnapshot({name: []})
        page = _select(snapshot, resource, [], detail=True)
        assert (page.total, page.num_filtered, list(page.rows)) == (0, 0, [])


@pytest.mark.parametrize(
    ("resource", "key", "predicate", "text", "message"),
    [
        (TASKS, "state", "<", "x", "Unsupported filter predicate < is given. Available predicates: =, !=."),
        (TASKS, "nothing", "=", "x", "The given filter column nothing is not supported."),
        (TASKS, "events", "=", "x", "The given filter column events is not supported."),
        (TASKS, "attempt_number", "=", "x", "Invalid filter `--filter attempt_number x` for a int type column."),
    ],
)
def test_wrong_filters_are_refused_in_lives_words(resource: Resource, key: str, predicate: str, text: str, message: str) -> None:
    with pytest.raises(BadFilter) as caught:
        make_filter(resource, key, predicate, text)
    assert str(caught.value).startswith(message)
