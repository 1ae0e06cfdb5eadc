"""The core in Rust behind the same two calls as the plain engine, which reads every line that the core leaves to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import numpy as np
import ray_history_core as core

from shared.ray.columns import TASKS
from shared.snapshots import format as fmt
from shared.snapshots.format import ColumnData, PartIndex
from shared.snapshots.writer import assembled
from workers.bad_data import Skipped
from workers.entities.ends import TaskEnds
from workers.task_events.ranges import Ranges
from workers.task_events.records import decode_records, encode_records
from workers.task_events.runtime_env import RuntimeEnvs
from workers.task_events.split import Splitter
from workers.task_events.task_range import TaskRange
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
    runtime_envs = RuntimeEnvs()
    deaths = {worker: (death.end_ms, death.exit_type, death.exit_detail) for worker, death in ends.deaths.items()}
    made = _guarded(core.merge_range, list(chunks), runtime_envs, deaths, ends.job_ends)
    starts, fields = assembled(
        TASKS.name, number, [(rows, fmt.compress(base), fmt.compress(whole)) for rows, base, whole in made["blocks"]]
    )
    tallied: dict[str, fmt.LoadedColumn] = {}
    for name, column in made["columns"]:
        fields[fmt.column_field(TASKS.name, number, name)] = fmt.compress(column)
        if name in fmt.TALLIED:
            data = msgspec.msgpack.decode(column, type=ColumnData)
            tallied[name] = fmt.LoadedColumn(data.values, np.frombuffer(data.codes, f"<u{data.width}"))
    fields[fmt.keys_field(TASKS.name, number)] = fmt.compress(made["keys"])
    if runtime_envs.redactions:
        fields[fmt.redactions_field(TASKS.name, number)] = fmt.compress(fmt.pack(sorted(runtime_envs.redactions.items())))
    tally = fmt.joint_counts([tallied[name] for name in fmt.TALLIED])
    index = PartIndex(made["rows"], made["first"] or "", made["last"] or "", starts, made["clusters"], tally)
    counts = {job: Counter({tuple(key): count for key, count in of_job}) for job, of_job in made["counts"]}
    return TaskRange(index, fields, counts, dict(made["lineage"]))


def _guarded(call: Any, *given: Any) -> Any:
    """A panic in Rust is no Exception in Python; here it is made one."""
    try:
        return call(*given)
    except BaseException as exc:
        if type(exc).__name__ == "PanicException":
            raise RuntimeError(f"the core panicked: {exc}") from exc
        raise
