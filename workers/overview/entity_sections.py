"""What an overview says of jobs, nodes and actors, from their rows of the State API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.jobs import FAILED, job_of_row
from shared.overview import ActorDeaths, ActorRow, Count, JobRow, NodeRow
from shared.ray.error_text import common_part, headline
from workers.overview.failures import shown

_JOBS, _NODES, _CAUSES, _RESTARTED = 100, 100, 20, 50
_ENTRYPOINT = 300
_CLASSES = 5
# Of a cause, what comes before the ids and addresses of this one actor.
_LONGEST_CAUSE = 300
Rows = Sequence[Mapping[str, Any]]


def jobs(rows: Rows, states: Mapping[str, Counter[str]]) -> dict[str, Any]:
    """Failed ones first, then the newest."""
    made = []
    for row in rows:
        job = job_of_row(dict(row))
        made.append(
            JobRow(
                id=job.id,
                job_id=job.job_id,
                submission_id=job.submission_id,
                status=job.status,
                entrypoint=job.entrypoint[:_ENTRYPOINT],
                error=job.error,
                start_time_ms=job.start or None,
                end_time_ms=job.end or None,
                tasks=dict(states.get(job.job_id, {})),
            )
        )
    made.sort(key=lambda job: (job.status != FAILED, -(job.start_time_ms or 0), job.id))
    return {"jobs": made[:_JOBS], "jobs_more": max(0, len(made) - _JOBS)}


def nodes(rows: Rows, failed_on: Iterable[tuple[tuple[str, str], int]]) -> dict[str, Any]:
    """Those that were lost first, then by when they began. `failed_on`: attempts by node and error type."""
    failed: dict[str, dict[str, int]] = {}
    for (node, error_type), count in failed_on:
        failed.setdefault(node, {})[error_type] = count
    made = [
        NodeRow(
            node_id=row["node_id"],
            node_ip=row["node_ip"],
            is_head_node=row["is_head_node"],
            state=row["state"],
            state_message=row["state_message"],
            start_time_ms=ms(row["start_time_ms"]),
            end_time_ms=ms(row["end_time_ms"]),
            failed=shown(failed.get(row["node_id"], {}))[0],
        )
        for row in rows
    ]
    made.sort(key=lambda node: (node.state != "DEAD", -sum(count.count for count in node.failed), node.start_time_ms or 0, node.node_id))
    return {"nodes": made[:_NODES], "nodes_more": max(0, len(made) - _NODES)}


def actors(rows: Rows) -> dict[str, Any]:
    """How many there were, why they died, and which were restarted."""
    causes: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["state"] == "DEAD":
            causes.setdefault(_cause(row.get("death_cause")), []).append(row)
    deaths = [
        ActorDeaths(cause, len(of_cause), *_classes(of_cause), of_cause[0]["actor_id"])
        for cause, of_cause in sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    restarted = [
        ActorRow(row["actor_id"], row["class_name"], row["name"] or "", row["state"], row["job_id"], int(row["num_restarts"]))
        for row in rows
        if int(row["num_restarts"])
    ]
    restarted.sort(key=lambda actor: (-actor.restarts, actor.actor_id))
    return {
        "actors": len(rows),
        "actor_deaths": deaths[:_CAUSES],
        "actor_deaths_more": max(0, len(deaths) - _CAUSES),
        "restarted": restarted[:_RESTARTED],
        "restarted_more": max(0, len(restarted) - _RESTARTED),
    }


def _classes(rows: Rows) -> tuple[list[Count], int]:
    return shown(Counter(row["class_name"] for row in rows), _CLASSES)


def _cause(death: object) -> str:
    """The first sentence of what an actor's death cause says, with `#` for ids and numbers."""
    for context in death.values() if isinstance(death, dict) else ():
        if isinstance(context, dict):
            said = context.get("error_message") or context.get("formatted_exception_string")
            if isinstance(said, str) and said.strip():
                return common_part(headline(said).partition(". ")[0].removesuffix("."))[:_LONGEST_CAUSE]
    return "not told"


def ms(value: object) -> int | None:
    """A time of a row; 0 and what is no time are not known."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
