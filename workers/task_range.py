"""One range of task ids: its lines to one part of the `tasks` table, and what the summaries need of it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import structlog

from shared.ray.columns import TASKS
from shared.ray.function_summary import CountKey
from shared.ray.lineage import LineageTask
from shared.snapshots.format import PartIndex
from shared.snapshots.writer import TablePart
from workers.entities.ends import TaskEnds
from workers.merge_tasks import Hexer, merge
from workers.ray_events import Event
from workers.render_tasks import COLUMNS, TaskRenderer, TaskRow

log = structlog.get_logger()

_decode_one = msgspec.json.Decoder(Event).decode
_decode_all = msgspec.json.Decoder(Event).decode_lines
_SAMPLES = 3
_AT = {name: at for at, name in enumerate(COLUMNS)}


@dataclass(slots=True)
class TaskRange:
    """What a merged range leaves behind: a part of the table, counts by job, lineage by job, and how many lines were bad."""

    index: PartIndex
    fields: dict[str, bytes]
    counts: dict[str, Counter[CountKey]]
    lineage: dict[str, list[LineageTask]]
    bad_lines: int


def merge_range(number: int, chunks: Iterable[bytes], ends: TaskEnds) -> TaskRange:
    """`chunks` are newline-separated task event lines; `number` is the part's place in the table."""
    hexer = Hexer()
    renderer = TaskRenderer(hexer)
    with _no_gc():
        events, bad = _decode(chunks)
        rows = [renderer.render(attempt) for attempt in merge(events, ends, hexer)]
        del events
        rows.sort(key=_key)
        part = TablePart(TASKS.name, number, COLUMNS, cluster_by="job_id", keyed=True)
        part.redactions = renderer.redactions
        counts: dict[str, Counter[CountKey]] = {}
        lineage: dict[str, list[LineageTask]] = {}
        for row in rows:
            part.add(row.task_id, row.base, row.full, row.values)
            task = _lineage_task(row)
            if task.type != "DRIVER_TASK":  # summaries are of what `exclude_driver` leaves
                job = str(row.values[_AT["job_id"]])
                counts.setdefault(job, Counter())[task.name, task.type, task.state] += 1
                lineage.setdefault(job, []).append(task)
        del rows
        index, fields = part.render()
    return TaskRange(index, fields, counts, lineage, bad)


def _key(row: TaskRow) -> tuple[str, int]:
    """Live gives the latest attempt of a task first."""
    return row.task_id, -row.number


def _lineage_task(row: TaskRow) -> LineageTask:
    (_, name, state, _, actor_id, type_, function, parent, *_) = row.values
    return LineageTask(
        row.task_id,
        str(name or function),
        str(function),
        str(type_),
        str(state),
        str(parent),
        None if actor_id is None else str(actor_id),
        int(row.creation_ms) if row.creation_ms else None,
    )


def _decode(chunks: Iterable[bytes]) -> tuple[list[Event], int]:
    events: list[Event] = []
    bad = 0
    for chunk in chunks:
        try:
            events += _decode_all(chunk)
        except msgspec.DecodeError:
            for line in chunk.split(b"\n"):
                try:
                    if line.strip():
                        events.append(_decode_one(line))
                except msgspec.DecodeError as exc:
                    bad += 1
                    if bad <= _SAMPLES:
                        log.warning("bad event line", error=str(exc), line=line[:200].decode(errors="replace"))
    return events, bad


@contextmanager
def _no_gc() -> Iterator[None]:
    """Millions of small, acyclic objects: collecting them again and again costs a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
