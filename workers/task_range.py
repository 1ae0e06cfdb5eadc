"""One range of task ids: its events to one part of the `tasks` table, and what the summaries need of it."""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import msgspec
import structlog

from shared.ray.columns import TASKS
from shared.ray.function_summary import CountKey
from shared.ray.ids import Hexer, to_hex
from shared.ray.lineage import LineageTask
from shared.snapshots.format import PartIndex
from shared.snapshots.writer import TablePart
from workers.definitions import Definitions
from workers.entities.ends import TaskEnds
from workers.merge_tasks import Attempt, merge
from workers.partition import tasks_in
from workers.ray_events import TASK_EVENT_DECODER, TaskEvent
from workers.render_tasks import COLUMNS, TaskRenderer

log = structlog.get_logger()

_decode_one = TASK_EVENT_DECODER.decode
_decode_all = TASK_EVENT_DECODER.decode_lines
# Few enough that what they are made of stays in the CPU's caches from decoding to rendering.
_AT_ONCE = 64
_HEX_LENGTH = 48
_SAMPLES = 3
_DRIVER = "DRIVER_TASK"
_JOB = COLUMNS.index("job_id")


@dataclass(slots=True)
class TaskRange:
    """What a merged range leaves behind: a part of the table, counts by job, lineage by job, and how many events were bad."""

    index: PartIndex
    fields: dict[str, bytes]
    counts: dict[str, Counter[CountKey]]
    lineage: dict[str, list[LineageTask]]
    bad_events: int


def merge_range(number: int, slices: Iterable[Iterable[bytes]], ends: TaskEnds) -> TaskRange:
    """`slices`: for each slice of the range what `Lines.texts` made of it from each part of the files; `number` is the part's place
    in the table.
    """
    hexer = Hexer()
    definitions, renderer = Definitions(hexer), TaskRenderer(hexer)
    rejected: list[str] = []
    part = TablePart(TASKS.name, number)
    ids, every, creation = [], [], []
    for texts in slices:
        for attempts in _attempts(tasks_in(texts), definitions, ends, hexer, rejected):
            for task_id, base, rest, values, created in renderer.render(attempts, rejected):
                ids.append(task_id)
                every.append(values)
                creation.append(created)
                part.add(values[_JOB], base, base[:-1] + rest)
    columns = dict(zip(COLUMNS, zip(*every, strict=True) if every else ((),) * len(COLUMNS), strict=True))
    del every
    index, fields = part.finish(columns, ids, cluster_by="job_id", redactions=definitions.redactions)
    counts, lineage = _by_job(ids, columns, creation)
    if rejected:
        log.warning("bad task events", count=len(rejected), samples=rejected[:_SAMPLES])
    return TaskRange(index, fields, counts, lineage, len(rejected))


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


def _attempts(
    tasks: dict[bytes, list[bytes]], definitions: Definitions, ends: TaskEnds, hexer: Hexer, rejected: list[str]
) -> Iterator[list[Attempt]]:
    """Merged attempts in the order of the table, some tasks at a time; their lines are released on the way.

    `rejected` gets the reason for what is left out.
    """
    ordered = iter(_in_order(tasks, rejected))
    while batch := list(islice(ordered, _AT_ONCE)):
        of_tasks = [tasks.pop(key) for _, key in batch]
        events = _decoded(list(chain.from_iterable(of_tasks)))
        attempts: list[Attempt] = []
        end = 0
        for (task_id, _), lines in zip(batch, of_tasks, strict=True):
            begin, end = end, end + len(lines)
            of_task = events[begin:end] if events is not None else _decoded_singly(lines, rejected)
            try:
                attempts += merge(task_id, of_task, definitions, ends, hexer, rejected)
            except ValueError as exc:
                rejected.append(str(exc))
        yield attempts


def _in_order(tasks: Iterable[bytes], rejected: list[str]) -> list[tuple[str, bytes]]:
    """Tasks by their id in hex, and that id in base64."""
    keys = list(tasks)
    hexed = binascii.a2b_base64(b"".join(keys)).hex()
    if len(hexed) == _HEX_LENGTH * len(keys):
        return sorted(zip([hexed[at : at + _HEX_LENGTH] for at in range(0, len(hexed), _HEX_LENGTH)], keys, strict=True))
    ordered = []
    for key in keys:
        try:
            ordered.append((to_hex(key.decode()), key))
        except ValueError as exc:
            rejected.append(str(exc))
    return sorted(ordered)


def _decoded(lines: list[bytes]) -> list[TaskEvent] | None:
    """The events of lines that lack their opening braces, one for each; None if one is bad."""
    try:
        events = _decode_all(b"{" + b"\n{".join(lines))
    except msgspec.DecodeError:
        return None
    return events if len(events) == len(lines) else None


def _decoded_singly(lines: list[bytes], rejected: list[str]) -> list[TaskEvent]:
    events = []
    for line in lines:
        try:
            events.append(_decode_one(b"{" + line))
        except msgspec.DecodeError as exc:
            rejected.append(f"{exc}: {line[:200].decode(errors='replace')}")
    return events
