"""Log events: lines of `logs/events/event_*.log`, by Python and C++ writers, as the dashboard keeps them (`modules/event`).

Python writes `timestamp` as text, C++ as a number, and they name host and process differently: live passes both on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.ray.proto_json import google_style
from workers.bad_data import BAD_DATA
from workers.entities.fields import amounts, part, text
from workers.entities.histories import Malformed
from workers.task_events.lines import decode_event, packable

JOBS = "events/jobs"
GLOBAL = "global"
# Live drops the oldest of a job's events down to the first number once there are more than the second.
_KEPT, _TOO_MANY = 10_000, 11_000
_LONGEST_LINE = 2 << 20


def of_job(job_id: str) -> str:
    """The document with one job's events."""
    return f"events/of/{job_id}"


def read_log_events(files: Iterable[tuple[str, bytes]], malformed: Malformed) -> list[dict[str, Any]]:
    """Every event once, by time; a later line with the same id replaces the former one, as in live."""
    found: dict[str, dict[str, Any]] = {}
    for key, content in files:
        for line in content.split(b"\n"):
            if not line.strip():
                continue
            try:
                if len(line) > _LONGEST_LINE:
                    raise ValueError(f"a line of {len(line)} bytes")
                event = packable(decode_event(line))
                found[str(event["event_id"])] = event
            except BAD_DATA as exc:
                malformed(key, exc)
                continue
            if isinstance(event.get("message"), str):
                event["message"] = event["message"].replace("\\n", "\n").replace("\\r", "\n")
    return sorted(found.values(), key=_seconds)


def _seconds(event: dict[str, Any]) -> float:
    """Python's writer gives text, C++'s a number, either perhaps with decimals."""
    return amounts({"of": {"timestamp": event.get("timestamp") or 0}}, "of").get("timestamp", 0.0)


def event_documents(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The jobs that have events, and the events of each in live's style; those of no job belong to `global`."""
    by_job: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        job = text(part(event, "custom_fields"), "job_id") or GLOBAL
        by_job.setdefault(job, []).append(event)
    documents: dict[str, Any] = {JOBS: list(by_job)}
    for job, kept in by_job.items():
        documents[of_job(job)] = [google_style(event) for event in (kept[-_KEPT:] if len(kept) > _TOO_MANY else kept)]
    return documents


def cluster_event_rows(events: list[dict[str, Any]], offset: timedelta) -> list[dict[str, Any]]:
    """Rows of the State API (`ClusterEventState`); `time` is on the head's clock, `offset` from UTC."""
    return [
        {
            "severity": text(event, "severity"),
            "time": _on_clock(int(_seconds(event)), offset),
            "source_type": text(event, "source_type"),
            "message": text(event, "message"),
            "event_id": text(event, "event_id"),
            "custom_fields": part(event, "custom_fields"),
        }
        for event in events
    ]


def _on_clock(seconds: int, offset: timedelta) -> str:
    try:
        return str(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) + offset)
    except (ValueError, OverflowError, OSError):
        return ""
