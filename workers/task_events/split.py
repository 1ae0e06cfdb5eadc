"""Chunks of event files to records by range of their tasks' ids, and to the events of everything else."""

from __future__ import annotations

from typing import Any

from shared.ray.proto_json import EVENT_TYPES
from workers.bad_data import BAD_DATA, Skipped
from workers.task_events.lines import decode_lines, packable
from workers.task_events.ranges import Ranges
from workers.task_events.read import PARTS, read_task_event
from workers.task_events.records import Records, encode_record, encode_records

TASK_EVENTS = ("TASK_DEFINITION_EVENT", "ACTOR_TASK_DEFINITION_EVENT", "TASK_LIFECYCLE_EVENT", "TASK_PROFILE_EVENT")
# Tuples: a bad value may not be hashable.
_ENTITY_EVENTS = tuple(kind for kind in EVENT_TYPES if kind and kind not in TASK_EVENTS)


class Splitter:
    """`feed` it chunks of whole lines, then `take` what is there. `others`: decoded events (camelCase) that are no task's."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.events = 0
        self.size = 0
        self.others: list[dict[str, Any]] = []
        self.skipped = Skipped()
        self._records: list[Records] = [[] for _ in range(ranges.count)]

    def feed(self, text: bytes) -> None:
        for event in decode_lines(text, self.skipped):
            try:
                self._add(event)
            except BAD_DATA as exc:
                self.skipped("bad_event", str(exc))

    def _add(self, event: dict[str, Any]) -> None:
        kind = event.get("eventType")
        if kind in TASK_EVENTS or (not kind and any(part in event for part in PARTS)):
            found = read_task_event(event, self.skipped)
            if found is None:
                return
            task_id, record = found
            encoded = encode_record(record)
            self._records[self.ranges.of(task_id)].append((task_id, encoded))
            self.size += len(encoded)
        elif kind in _ENTITY_EVENTS:
            self.others.append(packable(event))
        else:
            self.skipped("unknown_type" if isinstance(kind, str) and kind else "no_type", str(kind))
            return
        self.events += 1

    def take(self) -> list[bytes]:
        """For each range what `merge_range` reads: "" where there is nothing. Begins anew."""
        records, self._records, self.size = self._records, [[] for _ in self._records], 0
        return [encode_records(of_range) if of_range else b"" for of_range in records]
