"""The core in Rust behind the same calls as the plain engine, which reads every line that the core leaves to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import ray_history_core as core

from shared.ray.columns import TASKS
from shared.ray.function_summary import CountKey
from shared.ray.lineage import LineageActor
from shared.snapshot_format import BETWEEN_ROWS, DOC_PIECE, LoadedColumn, Scalar, joint_counts
from shared.timeline import new_trace
from workers.bad_data import Skipped
from workers.entities.ends import TaskEnds
from workers.snapshot_writer import BLOCK_ROWS, TablePart
from workers.task_events.ranges import Ranges
from workers.task_events.records import decode_records, encode_records
from workers.task_events.render import DRIVER
from workers.task_events.runtime_env import RuntimeEnvs
from workers.task_events.split import Splitter
from workers.task_events.task_range import TaskRange, TaskRows
from workers.task_events.task_range import merge_range as reference_merge


class NativeSplitter:
    """As `task_events.split.Splitter`."""

    def __init__(self, ranges: Ranges) -> None:
        self._core = core.Splitter(ranges.plain, ranges.ones)
        self._reference = Splitter(ranges)

    def feed(self, text: bytes) -> None:
        if odd := _guarded(self._core.feed, text):
            self._reference.feed(odd)

    def take(self) -> list[bytes]:
        by_range = zip(_guarded(self._core.take), self._reference.take(), strict=True)
        return [
            encode_records(decode_records(of_core) + decode_records(odd)) if of_core and odd else of_core or odd
            for of_core, odd in by_range
        ]

    @property
    def events(self) -> int:
        return cast("int", self._core.events) + self._reference.events

    @property
    def size(self) -> int:
        return cast("int", self._core.size) + self._reference.size

    @property
    def others(self) -> list[dict[str, Any]]:
        return self._reference.others

    @property
    def skipped(self) -> Skipped:
        return self._reference.skipped


def merge_range(number: int, chunks: Iterable[bytes], ends: TaskEnds) -> TaskRange:
    """As `task_events.task_range.merge_range`, which merges what older versions of Ray wrote: their rules are said there only."""
    if ends.old is not None:
        return reference_merge(number, chunks, ends)
    part, runtime_envs = TablePart(TASKS.name, number), RuntimeEnvs()

    def add(job: str, count: int, base: bytes, whole: bytes) -> None:
        if count == BLOCK_ROWS:
            part.add_block(job, base, whole)
        else:
            for row in zip(*(rows.decode().split(BETWEEN_ROWS.decode()) for rows in (base, whole)), strict=True):
                part.add(job, *row)

    deaths = {worker: (death.end_ms, death.exit_type, death.exit_detail) for worker, death in ends.deaths.items()}
    merged, lineage = _guarded(core.merge_range, list(chunks), BLOCK_ROWS, add, runtime_envs, deaths, ends.job_ends)
    ids, columns, ms, errors = merged
    times = np.frombuffer(ms, "<i8").reshape(-1, 3)
    rows = TaskRows(ids, {name: _column(*of_rows) for name, of_rows in columns}, times, _column(*errors))
    index, fields = part.finish(rows.columns, ids, cluster_by="job_id", redactions=runtime_envs.redactions)
    return TaskRange(index, fields, _counts(rows.columns), dict(lineage), rows)


def _column(values: list[Scalar], codes: bytes) -> LoadedColumn:
    return LoadedColumn(values, np.frombuffer(codes, "<u4"))


def lineage(chunks: Iterable[bytes], actors: dict[str, LineageActor], write: Callable[[bytes], None]) -> None:
    """As `task_events.task_range.lineage`, a piece of a document at a time."""
    _guarded(core.summary_by_lineage, list(chunks), actors, DOC_PIECE, write)


class NativeTrace:
    """As `shared.timeline.Trace`."""

    def __init__(self) -> None:
        self._core = new_trace()

    def events(self, texts: Sequence[bytes]) -> bytes:
        return cast("bytes", _guarded(self._core.events, texts))

    def end(self) -> bytes:
        return cast("bytes", _guarded(self._core.end))


def _counts(columns: dict[str, LoadedColumn]) -> dict[str, Counter[CountKey]]:
    """As the reference counts the rows that it makes."""
    counts: dict[str, Counter[CountKey]] = {}
    counted = [columns[name] for name in ("job_id", "name", "func_or_class_name", "type", "state")]
    for (job, name, function, kind, state), count in joint_counts(counted):
        if kind != DRIVER:
            counts.setdefault(cast("str", job), Counter())[cast("CountKey", (name or function, kind, state))] += count
    return counts


def _guarded(call: Any, *given: Any) -> Any:
    """A panic in Rust is no Exception in Python; here it is made one."""
    try:
        return call(*given)
    except BaseException as exc:
        if type(exc).__name__ == "PanicException":
            raise RuntimeError(f"the core panicked: {exc}") from exc
        raise
