"""Both engines give the same: records, rows, columns, counts, lineage, and what was skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ray.lineage import LineageActor, LineageTask
from shared.snapshot_format import decompress
from shared.timeline import trace
from tests.hostile import HOSTILE, mutated
from tests.task_lines import JOB, TASK, WORKER, defined, lived, profiled
from tests.unit.session_events import b64, ms
from workers.engine import PYTHON, Engine, NoSuchEngine, engine_for
from workers.entities.ends import TaskEnds, WorkerDeath
from workers.event_texts import UnreadableFile, texts
from workers.task_events.ranges import Ranges

ENDS = TaskEnds({WORKER: WorkerDeath(ms(50), 4, 'it was "killed"\n')}, {JOB: ms(90) * 10**6})


@pytest.fixture(scope="module")
def native() -> Engine:
    try:
        return engine_for("native")
    except NoSuchEngine:
        pytest.skip("the core is not built: `make setup` does where there is cargo")


def _made(engine: Engine, chunks: Iterable[bytes], ranges: int, ends: TaskEnds) -> Iterator[Any]:
    splitter = engine.splitter(Ranges(ranges))
    for chunk in chunks:
        splitter.feed(chunk)
    yield splitter.events, splitter.skipped.counts, sorted(splitter.skipped.samples), splitter.others
    for number, records in enumerate(splitter.take()):
        yield sorted(_pairs(records))
        merged = engine.merge_range(number, [records], ends)
        yield merged.index, list(merged.fields), merged.lineage, {job: list(counts.items()) for job, counts in merged.counts.items()}
        yield {name: decompress(data) for name, data in merged.fields.items()}
        yield b"".join(trace([decompress(data) for name, data in merged.fields.items() if ":d:" in name], engine.new_trace()))
        yield merged.rows.ids, merged.rows.times.tolist(), merged.rows.errors.values, merged.rows.errors.codes.tolist()
        yield [_lineage(engine, [of_job], {}) for of_job in merged.lineage.values()]


def _lineage(engine: Engine, chunks: list[bytes], actors: dict[str, LineageActor]) -> bytes:
    written: list[bytes] = []
    engine.lineage(chunks, actors, written.append)
    return b"".join(written)


def _pairs(records: bytes) -> list[tuple[str, bytes]]:
    from workers.task_events.records import decode_records

    return decode_records(records) if records else []


def _same(native: Engine, chunks: Iterable[bytes], ranges: int = 1, ends: TaskEnds = ENDS) -> None:
    chunks = list(chunks)
    for expected, found in zip(_made(PYTHON, chunks, ranges, ends), _made(native, chunks, ranges, ends), strict=True):
        assert found == expected


@pytest.mark.parametrize("ranges", [1, 4])
def test_recorded_sessions(native: Engine, recorded: Path, ranges: int) -> None:
    for session in (recorded / "bucket" / "cluster-history").glob("**/session_*"):
        files = sorted(session.glob("**/*_events/**/*.jsonl*"))
        _same(native, [text for file in files for text in texts([file.read_bytes()], 1 << 26, 1 << 40)], ranges)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files(native: Engine, name: str) -> None:
    found: list[bytes] = []
    with suppress(UnreadableFile):
        found.extend(texts([HOSTILE[name]()], 1 << 20, 1 << 25))
    _same(native, found)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32), share=st.floats(0.005, 0.3))
def test_recorded_lines_with_bytes_changed(native: Engine, recorded: Path, seed: int, share: float) -> None:
    random = Random(seed)
    files = sorted((recorded / "bucket" / "cluster-history").glob("**/*_events/**/*.jsonl"))
    lines = random.choice(files).read_bytes().split(b"\n")
    start = random.randrange(len(lines))
    _same(native, [b"\n".join(mutated(lines[start : start + 120], share, random))], 1 + seed % 3)


_numbers = st.one_of(st.integers(-(1 << 70), 1 << 70), st.integers(0, 20), st.floats(), st.integers().map(str))
_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "{}", '{"a": 1}', '{"a":\n[1e400]}', "FAILED", "a.b", "\ud800", b64(WORKER), WORKER, "BAAAAA=", "null"]),
)
_times = st.sampled_from(["2026-11-23T19:00:28Z", "2026-11-23T19:00:28.9Z", "2026-11-23T19:00:28.900000001Z", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "2026-11-23T19:00:28+01:00", "2262-01-01T00:00:00Z", "", "x"])  # fmt: skip
_scalars = st.one_of(st.none(), st.booleans(), _numbers, _texts, _times)
_values = st.recursive(
    _scalars, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_texts, inner, max_size=2)), max_leaves=6
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [place for key, item in items for place in ((value, key), *_places(item))]


def _events() -> list[Any]:
    """Of every kind, and with every field."""
    logs = {"stdoutFile": "a", "stdoutStart": "3", "stderrEnd": 7}
    error = {"errorType": "WORKER_DIED", "errorMessage": "\x1b[31mé\x1b"}
    function = {"pythonFunctionDescriptor": {"functionName": "m.f", "className": "a.B"}}
    return [
        json.loads(line)
        for line in (
            defined(requiredResources={"CPU": 1, "x": 0.000001}, labelSelector={"é": '"'}, actorTaskName="n", callSite="c\n", placementGroupId=b64("ff" * 18)),
            defined(TASK, 1, "B.f", taskFunc=function, serializedRuntimeEnv='{"env_vars": {"A": "b"}, "config": {"x": 1}}'),
            lived(("RUNNING", 1.5), ("FAILED", 2), taskLogInfo=logs, rayErrorInfo=error, workerId=b64(WORKER), nodeId=b64("dd" * 28), workerPid=7),
            lived(("PENDING_ARGS_AVAIL", 1), ("X", 3), attempt=1, actorReprName="R", isDebuggerPaused=True, taskLogInfo={"stdoutStart": "0"}),
            profiled(("a", 10, 2_000_000), ("b", 1_795_460_400_123_456_789, 1_795_460_400_223_456_780), extra='{"a": [1.5, "x"]}'),
        )
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place(native: Engine, data: st.DataObject) -> None:
    events = _events()
    for _ in range(data.draw(st.integers(0, 4))):
        container, key = data.draw(st.sampled_from(_places(events)))
        if container is not events and key in (container if isinstance(container, dict) else range(len(container))):
            container[key] = data.draw(_values)
    lines = [json.dumps(event, ensure_ascii=data.draw(st.booleans())).encode(errors="surrogatepass") for event in events]
    _same(native, [b"\n".join(lines)])


def test_any_field_left_out(native: Engine) -> None:
    for number in range(len(_places(_events()))):
        events = _events()
        container, key = _places(events)[number]
        del container[key]
        _same(native, [b"\n".join([json.dumps(event).encode() for event in events])])


@given(ns=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=30))
def test_any_time_of_a_profile_event_is_written_alike(native: Engine, ns: list[int]) -> None:
    _same(native, [b"\n".join([defined(), profiled(*[("s", start, start // 7) for start in ns])])])


_ids = st.sampled_from([*"abcdefghijklmnop", *[""] * 5])
_lineage_tasks = st.builds(
    LineageTask,
    task_id=_ids.filter(bool),
    name=st.sampled_from(["f", "g.h", 'i"\n\x01é', ""]),
    function=st.sampled_from(["f", "A.__init__", ""]),
    type=st.sampled_from(["NORMAL_TASK", "ACTOR_TASK", "ACTOR_CREATION_TASK", "NEW"]),
    state=st.sampled_from(["RUNNING", "PENDING_ARGS_FETCH", "FAILED", "FINISHED", 'X"']),
    parent_task_id=_ids,
    actor_id=st.one_of(st.none(), _ids),
    creation_ms=st.one_of(st.none(), st.integers(-2, 4)),
)


@settings(max_examples=300)
@given(
    tasks=st.lists(_lineage_tasks, max_size=25),
    cut=st.integers(0, 25),
    names=st.lists(st.sampled_from(["", "<A>", '"']), min_size=2, max_size=2),
)
def test_any_lineage(native: Engine, tasks: list[LineageTask], cut: int, names: list[str]) -> None:
    """Circles, several attempts, unknown parents and actors."""
    chunks = [msgspec.msgpack.encode(tasks[:cut]), msgspec.msgpack.encode(tasks[cut:])]
    actors = {"a": LineageActor(*names), "b": LineageActor("", "B")}
    assert _lineage(native, chunks, actors) == _lineage(PYTHON, chunks, actors)


def test_a_chosen_engine_is_the_one() -> None:
    assert engine_for("python") is PYTHON
    assert engine_for("auto").name in ("native", "python")
