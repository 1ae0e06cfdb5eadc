"""The recorded sessions' events, and how the collector writes JSON and times: what synthetic sessions are made of."""

from __future__ import annotations

import calendar
import copy
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tests.data.recorded import unpack

Event = dict[str, Any]
AttemptKey = tuple[str, int]

SECOND = 10**9
_CLUSTER = "raycap"
# Where an event says which attempt of a task it is about.
ATTEMPT = {
    "taskDefinitionEvent": "taskAttempt",
    "actorTaskDefinitionEvent": "taskAttempt",
    "taskLifecycleEvent": "taskAttempt",
    "taskProfileEvents": "attemptNumber",
}
# Go's encoding/json escapes these, too.
_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(slots=True)
class Recorded:
    """Events by session, task events also by (task id, attempt); `endpoints` are stored dashboard answers by file name."""

    events: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[str, dict[AttemptKey, list[Event]]] = field(default_factory=dict)
    endpoints: dict[str, bytes] = field(default_factory=dict)

    def first(self, kind: str, matches: Callable[[Event], bool] = lambda _: True) -> Event:
        """A copy of the first event of a type that matches, in order of sessions. Raises LookupError."""
        for session in sorted(self.events):
            for event in self.events[session]:
                if event["eventType"] == kind and matches(event):
                    return copy.deepcopy(event)
        raise LookupError(f"no {kind} was recorded that matches")


@cache
def read_recorded() -> Recorded:
    """All recorded sessions of the cluster whose jobs use tasks and actors in every way."""
    recorded = Recorded()
    with tempfile.TemporaryDirectory() as directory:
        history = unpack(Path(directory), "bucket") / "bucket" / "cluster-history"
        for path in sorted(history.rglob("*_events/**/*.jsonl")):
            if _CLUSTER in path.parts:
                session = next(part for part in path.parts if part.startswith("session_"))
                recorded.events[session] += map(json.loads, path.read_bytes().splitlines())
        for path in sorted(history.glob("rayjob/**/fetched_endpoints/*")):
            recorded.endpoints[path.name] = path.read_bytes()
    for session, events in recorded.events.items():
        events.sort(key=lambda event: (event["timestamp"], event["eventId"]))
        recorded.attempts[session] = _by_attempt(events)
    return recorded


def _by_attempt(events: list[Event]) -> dict[AttemptKey, list[Event]]:
    found: dict[AttemptKey, list[Event]] = defaultdict(list)
    for event in events:
        for part, number in ATTEMPT.items():
            if part in event:
                found[event[part]["taskId"], event[part][number]].append(event)
    return found


def go_json(value: Any) -> bytes:
    """JSON as the Go collector writes it: sorted keys, no spaces, HTML-safe escapes, numbers that went through a float64."""
    text = json.dumps(_as_go_reads(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escape in _HTML.items():
        text = text.replace(character, escape)
    return text.encode()


def _as_go_reads(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_go_reads(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_go_reads(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def nanoseconds(text: str) -> int:
    """Since the epoch, from RFC 3339 in UTC."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) * SECOND + int((fraction + "0" * 9)[:9])


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()


def rfc3339(ns: int) -> bytes:
    seconds, fraction = divmod(ns, SECOND)
    return b"%b.%09dZ" % (_second(seconds), fraction)
