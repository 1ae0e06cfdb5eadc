"""Tasks counted by name: the State API's summary by function (Ray: `TaskSummaries.to_summary_by_func_name`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# name (or else function), type, state
CountKey = tuple[str, str, str]


def summary_by_function(counts: Iterable[tuple[CountKey, int]]) -> dict[str, Any]:
    """One `TaskSummaries`. The type of a name is that of its first attempt."""
    summary: dict[str, dict[str, Any]] = {}
    totals = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
    for (name, type_, state), count in counts:
        entry = summary.setdefault(name, {"func_or_class_name": name, "type": type_, "state_counts": {}})
        entry["state_counts"][state] = entry["state_counts"].get(state, 0) + count
        if type_ in totals:
            totals[type_] += count
    return {
        "summary": summary,
        "total_tasks": totals["NORMAL_TASK"],
        "total_actor_tasks": totals["ACTOR_TASK"],
        "total_actor_scheduled": totals["ACTOR_CREATION_TASK"],
        "summary_by": "func_name",
    }
