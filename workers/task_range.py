"""One range of task ids: its events to one part of the `tasks` table, and what the summaries need of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from shared.ray.columns import TASKS
from shared.ray.function_summary import CountKey
from shared.ray.ids import to_hex
from shared.ray.lineage import LineageTask
from shared.snapshots.format import PartIndex
from shared.snapshots.writer import TablePart
from workers.entities.ends import TaskEnds
from workers.merge_tasks import Attempt, Hexer, merge
from workers.partition import tasks_in
from workers.ray_events import EVENT_DECODER, Event
from workers.render_tasks import COLUMNS, TaskRenderer, TaskRow

log = structlog.get_logger()

_decode_one = EVENT_DECODER.decode
_decode_all = EVENT_DECODER.decode_lines
_SAMPLES = 3
_DRIVER = "DRIVER_TASK"


@dataclass(slots=True)
class TaskRange:
    """What a merged range leaves behind: a part of the table, counts by job, lineage by job, and how many events were bad."""

    index: PartIndex
    fields: dict[str, bytes]
    counts: dict[str, Counter[CountKey]]
    lineage: dict[str, list[LineageTask]]
    bad_events: int


def merge_range(number: int, texts: Iterable[bytes], ends: TaskEnds) -> TaskRange:
    """`texts` are what `Lines.texts` made of each part of the files; `number` is the part's place in the table."""
    hexer = Hexer()
    renderer = TaskRenderer(hexer)
    rejected: list[str] = []
    tasks = tasks_in(texts)
    rows = sorted(renderer.render(_attempts(tasks, ends, hexer, rejected), rejected), key=_key)
    ids, _, base, rest, values, creation = zip(*rows, strict=True) if rows else ((),) * 6
    del rows
    columns = dict(zip(COLUMNS, zip(*values, strict=True) if values else ((),) * len(COLUMNS), strict=True))
    del values
    index, fields = TablePart(TASKS.name, number, columns, "job_id").render(ids, base, rest, renderer.redactions)
    del base, rest
    counts, lineage = _by_job(ids, columns, creation)
    if rejected:
        log.warning("bad task events", count=len(rejected), samples=rejected[:_SAMPLES])
    return TaskRange(index, fields, counts, lineage, len(rejected))


def _key(row: TaskRow) -> tuple[str, int]:
    """Live gives the latest attempt of a task first."""
    return row[0], -row[1]


def _by_job(
    ids: Sequence[str], columns: Mapping[str, Sequence[Any]], creation: Sequence[str]
) -> tuple[dict[str, Counter[CountKey]], dict[str, list[LineageTask]]]:
    """What summaries need, of all that `exclude_driver` leaves."""
    counts: dict[str, Counter[CountKey]] = {}
    lineage: dict[str, list[LineageTask]] = {}
    names = [name or function for name, function in zip(columns["name"], columns["func_or_class_name"], strict=True)]
    tally = Counter(zip(columns["job_id"], names, columns["type"], columns["state"], strict=True))
    for (job, name, kind, state), count in tally.items():
        if kind != _DRIVER:
            counts.setdefault(job, Counter())[name, kind, state] = count
    created = [int(ms) if ms else None for ms in creation]
    tasks = map(
        LineageTask, ids, names, columns["func_or_class_name"], columns["type"], columns["state"], columns["parent_task_id"],
        columns["actor_id"], created,
    )  # fmt: skip
    for job, task in zip(columns["job_id"], tasks, strict=True):
        if task.type != _DRIVER:
            lineage.setdefault(job, []).append(task)
    return counts, lineage


def _attempts(tasks: dict[bytes, list[bytes]], ends: TaskEnds, hexer: Hexer, rejected: list[str]) -> Iterator[Attempt]:
    """Merged attempts, task by task; their lines are released on the way. `rejected` gets the reason for what is left out."""
    while tasks:
        task_id, lines = tasks.popitem()
        text = lines[0] if len(lines) == 1 else b"\n".join(lines)
        try:
            events = _decode_all(text)
        except msgspec.DecodeError:
            events = _decode_singly(text, rejected)
        try:
            yield from merge(to_hex(task_id.decode()), events, ends, hexer, rejected)
        except ValueError as exc:
            rejected.append(str(exc))


def _decode_singly(text: bytes, rejected: list[str]) -> list[Event]:
    events = []
    for line in text.split(b"\n"):
        try:
            events.append(_decode_one(line))
        except msgspec.DecodeError as exc:
            rejected.append(f"{exc}: {line[:200].decode(errors='replace')}")
    return events
