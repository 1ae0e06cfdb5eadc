"""Task events as lines of event files, and the rows that a load makes of them: the real steps, without storage and Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared.ray.columns import TASKS
from shared.snapshot_format import TableIndex
from tests.memory_snapshot import MemorySnapshot
from tests.unit.session_events import JOB, at, b64
from workers.engine import PYTHON, Engine
from workers.entities.ends import TaskEnds
from workers.snapshot_end import task_table
from workers.task_events.ranges import Ranges

TASK = "a1" * 16 + "03000000" + "ffffffff"
WORKER, NODE = "cc" * 28, "dd" * 28


def line(kind: str, part: str, body: Mapping[str, Any], seconds: float = 0) -> bytes:
    """One event, with `taskId` first as Ray prints it."""
    return json.dumps({"eventType": kind, "timestamp": at(seconds), "eventId": "x", part: body}, separators=(",", ":")).encode()


def defined(task_id: str = TASK, attempt: int = 0, name: str = "work", **fields: Any) -> bytes:
    function = {"pythonFunctionDescriptor": {"functionName": name, "className": ""}}
    body = {
        "taskId": b64(task_id),
        "taskAttempt": attempt,
        "jobId": b64(JOB),
        "taskType": "NORMAL_TASK",
        "taskName": name,
        "taskFunc": function,
    }
    return line("TASK_DEFINITION_EVENT", "taskDefinitionEvent", {**body, "parentTaskId": b64("ff" * 20 + JOB), **fields})


def lived(*states: tuple[str, float], task_id: str = TASK, attempt: int = 0, seconds: float | None = None, **fields: Any) -> bytes:
    """A lifecycle event; states are (name, seconds). Its own time is that of its last state unless given."""
    transitions = [{"state": name, "timestamp": at(when)} for name, when in states]
    body = {"taskId": b64(task_id), "taskAttempt": attempt, "stateTransitions": transitions, **fields}
    when = seconds if seconds is not None else max((when for _, when in states), default=0)
    return line("TASK_LIFECYCLE_EVENT", "taskLifecycleEvent", body, when)


def profiled(*spans: tuple[str, int, int], task_id: str = TASK, attempt: int = 0, seconds: float = 0, extra: str = "{}") -> bytes:
    """A profile event; spans are (name, start, end) in ns."""
    events = [{"startTime": str(start), "endTime": str(end), "extraData": extra, "eventName": name} for name, start, end in spans]
    profile = {"componentId": b64(WORKER), "componentType": "worker", "nodeIpAddress": "10.0.0.1", "events": events}
    body = {"taskId": b64(task_id), "attemptNumber": attempt, "jobId": b64(JOB), "profileEvents": profile}
    return line("TASK_PROFILE_EVENT", "taskProfileEvents", body, seconds)


class FieldSnapshot(MemorySnapshot):
    """A snapshot of fields that are written already."""

    def __init__(self, fields: dict[str, bytes], tables: dict[str, TableIndex]) -> None:
        super().__init__({})
        self._fields, self._tables = fields, tables

    def written(self) -> tuple[TableIndex, dict[str, bytes]]:
        """The index of its tasks, and all fields."""
        return self._tables[TASKS.name], self._fields


def loaded(files: Iterable[bytes], ends: TaskEnds | None = None, ranges: int = 1, engine: Engine = PYTHON) -> FieldSnapshot:
    """The tasks of event files (their text), merged by range."""
    cut = Ranges(ranges)
    chunks: list[list[bytes]] = [[] for _ in range(cut.count)]
    for text in files:
        splitter = engine.splitter(cut)
        splitter.feed(text)
        for number, of_range in enumerate(splitter.take()):
            chunks[number].append(of_range)
    fields: dict[str, bytes] = {}
    parts = []
    for number, of_range in enumerate(chunks):
        merged = engine.merge_range(number, of_range, ends or TaskEnds())
        fields |= merged.fields
        parts.append(merged.index)
    return FieldSnapshot(fields, {TASKS.name: task_table(parts)})


def rows(lines: Iterable[bytes], ends: TaskEnds | None = None, *, browser: bool = False) -> list[dict[str, Any]]:
    """Detailed rows of the tasks list, from the lines of one file."""
    page = asyncio.run(loaded([b"\n".join(lines)], ends).table("tasks").select(limit=100_000, detail=True, browser=browser))
    return [json.loads(row) for row in page.rows]


def row(*lines: bytes, ends: TaskEnds | None = None) -> dict[str, Any]:
    (found,) = rows(lines, ends)
    return found
