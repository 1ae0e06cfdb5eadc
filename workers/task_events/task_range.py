"""One range of task ids: its records to one part of the `tasks` table, and what the summaries need of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.ray.columns import TASKS
from shared.ray.function_summary import CountKey
from shared.ray.lineage import LineageActor, LineageTask, summary_by_lineage
from shared.snapshot_format import LoadedColumn, PartIndex, Scalar
from workers.entities.ends import TaskEnds
from workers.snapshot_writer import TablePart
from workers.task_events.merge import merge
from workers.task_events.records import Attempt, decode_records
from workers.task_events.render import COLUMNS, DRIVER, TaskRow, render
from workers.task_events.runtime_env import RuntimeEnvs

_pack = msgspec.msgpack.Encoder().encode
_decode_lineage = msgspec.msgpack.Decoder(list[LineageTask]).decode


@dataclass(slots=True)
class TaskRows:
    """What overviews want of rows, in id order: their filter columns and error messages.

    `times`: when (ms, 0: not known) each was submitted, started and ended.
    """

    ids: list[str]
    columns: dict[str, LoadedColumn]
    times: NDArray[np.int64]
    errors: LoadedColumn

    def value(self, name: str, row: int) -> Scalar:
        column = self.columns[name]
        code: int = column.codes[row]
        return column.values[code]


@dataclass(slots=True)
class TaskRange:
    """What a merged range leaves behind: a part of the table, counts by job, by job the tasks of its lineage (msgpack), and its rows."""

    index: PartIndex
    fields: dict[str, bytes]
    counts: dict[str, Counter[CountKey]]
    lineage: dict[str, bytes]
    rows: TaskRows


def merge_range(number: int, chunks: Iterable[bytes], ends: TaskEnds) -> TaskRange:
    """`chunks` are what `Splitter.take` gave for this range; `number` is the part's place in the table."""
    part, runtime_envs = TablePart(TASKS.name, number), RuntimeEnvs()
    ids: list[str] = []
    rows: list[TaskRow] = []
    counts: defaultdict[str, Counter[CountKey]] = defaultdict(Counter)
    lineage: defaultdict[str, list[LineageTask]] = defaultdict(list)
    by_function = ends.old is not None and ends.old.by_function
    for attempt in _attempts(chunks, ends):
        definition = attempt.definition
        if definition is None:
            continue
        row = render(attempt, definition, runtime_envs)
        part.add(definition.job_id, row.base, row.base[:-1] + row.rest)
        ids.append(attempt.task_id)
        rows.append(row)
        if definition.type != DRIVER:
            _, name, state, job, actor, kind, function, parent, *_ = row.values
            task = LineageTask(attempt.task_id, name or function, function, kind, state, parent, actor, row.times[0])  # type: ignore[arg-type]
            counts[job][function if by_function else task.name, task.type, task.state] += 1  # type: ignore[index]
            lineage[job].append(task)  # type: ignore[index]
    values = zip(*[row.values for row in rows], strict=True) if rows else ((),) * len(COLUMNS)
    columns = {name: LoadedColumn.of(of_rows) for name, of_rows in zip(COLUMNS, values, strict=True)}
    index, fields = part.finish(columns, ids, cluster_by="job_id", redactions=runtime_envs.redactions)
    times = np.array([ms or 0 for row in rows for ms in row.times], np.int64).reshape(-1, 3)
    errors = LoadedColumn.of([row.error_message for row in rows])
    of_rows = TaskRows(ids, columns, times, errors)
    return TaskRange(index, fields, dict(counts), {job: _pack(tasks) for job, tasks in lineage.items()}, of_rows)


def _attempts(chunks: Iterable[bytes], ends: TaskEnds) -> Iterator[Attempt]:
    """In the order of the table: by task id, the latest first."""
    tasks: defaultdict[str, list[bytes]] = defaultdict(list)
    for chunk in chunks:
        for task_id, record in decode_records(chunk) if chunk else ():
            tasks[task_id].append(record)
    for task_id in sorted(tasks):
        yield from merge(task_id, tasks.pop(task_id), ends)


def lineage(chunks: Iterable[bytes], actors: dict[str, LineageActor], write: Callable[[bytes], None]) -> None:
    """`write`s the JSON text of one job's summary by lineage. `chunks` are what its `TaskRange.lineage` was, in the order of the ranges."""
    write(summary_by_lineage((task for chunk in chunks for task in _decode_lineage(chunk)), actors))
