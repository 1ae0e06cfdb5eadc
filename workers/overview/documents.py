"""The overviews of a session and of its jobs, from the digests of its tasks and from everything that is no task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from shared import snapshot_format as fmt
from shared.overview import SESSION_OVERVIEW, FailureGroup, FunctionRow, Overview, TaskFacts, job_overview
from shared.snapshot_format import TALLIED, Tally
from workers.entities import Entities
from workers.overview import entity_sections as sections
from workers.overview.failures import FailureKey, Failures
from workers.overview.task_digest import FunctionDigest, FunctionKey, TaskDigest, merged
from workers.overview.time_series import node_changes
from workers.task_events.render import DRIVER

# What one document shows of each kind, and of the overviews of jobs: those with the most failures, then the most tasks.
_FUNCTIONS, _FAILURES, _JOB_OVERVIEWS = 200, 30, 1000
_JOB, _TYPE, _STATE = (TALLIED.index(name) for name in ("job_id", "type", "state"))
_encode = msgspec.json.Encoder().encode
_Functions = list[tuple[FunctionKey, FunctionDigest]]
_Failures = list[tuple[FailureKey, Failures]]


def overview_fields(digests: Iterable[TaskDigest], entities: Entities, tally: Tally) -> dict[str, bytes]:
    """Fields of the snapshot. `tally` counts the session's attempts."""
    whole = merged(digests)
    states: dict[str, Counter[str]] = {}
    for values, count in tally:
        if values[_TYPE] != DRIVER:
            states.setdefault(str(values[_JOB]), Counter())[str(values[_STATE])] += count
    jobs = _by_job(whole)
    documents: dict[str, TaskFacts] = {}
    for job in sorted(states, key=lambda job: (-states[job]["FAILED"], -states[job].total()))[:_JOB_OVERVIEWS]:
        functions, failures = jobs.get(job, ([], []))
        documents[job_overview(job)] = _facts(states[job], whole.retries.get(job, 0), functions, failures, whole.functions_more.get(job, 0))
    # The digests of jobs are added up from here on.
    documents[SESSION_OVERVIEW] = _session(whole, entities, states)
    return {fmt.doc_field(name): fmt.pack_doc(_encode(document)) for name, document in documents.items()}


def _by_job(whole: TaskDigest) -> dict[str, tuple[_Functions, _Failures]]:
    jobs: dict[str, tuple[_Functions, _Failures]] = {}
    for function in whole.functions:
        jobs.setdefault(function[0][0], ([], []))[0].append(function)
    for failure in whole.failures:
        jobs.setdefault(failure[0][0], ([], []))[1].append(failure)
    return jobs


def _facts(states: Counter[str], retries: int, functions: _Functions, failures: _Failures, more: int) -> TaskFacts:
    slow = sorted(functions, key=lambda item: (-item[1].running.total_ms, item[0]))
    frequent = sorted(failures, key=lambda item: (-item[1].count, item[0]))
    return TaskFacts(
        states=dict(states),
        retries=retries,
        functions=[_function(key, found) for key, found in slow[:_FUNCTIONS]],
        functions_more=max(0, len(slow) - _FUNCTIONS) + more,
        failures=[_failure(key, found) for key, found in frequent[:_FAILURES]],
        failures_more=max(0, len(frequent) - _FAILURES),
    )


def _session(whole: TaskDigest, entities: Entities, states: dict[str, Counter[str]]) -> Overview:
    all_functions: dict[FunctionKey, FunctionDigest] = {}
    for (_, name, kind), of_function in whole.functions:
        if (known := all_functions.setdefault(("", name, kind), of_function)) is not of_function:
            known.add(of_function)
    all_failures: dict[FailureKey, Failures] = {}
    for (_, error_type, common), of_group in whole.failures:
        if (group := all_failures.setdefault(("", error_type, common), of_group)) is not of_group:
            group.add(of_group)
    counts = sum(states.values(), Counter[str]())
    more = sum(whole.functions_more.values())
    facts = _facts(counts, sum(whole.retries.values()), list(all_functions.items()), list(all_failures.items()), more)
    node_rows = entities.rows["nodes"]
    lives = [(sections.ms(row["start_time_ms"]) or 0, sections.ms(row["end_time_ms"]) or 0) for row in node_rows]
    end = entities.docs.get("session/end") or {}
    series = None
    if lives or whole.series.changes:
        starts = [start for start, _ in lives if start]
        began = end.get("start_ms") or min(starts, default=0) or min(whole.series.changes, default=0) * whole.series.step_ms
        series = whole.series.series(node_changes(lives), began, end.get("end_ms") or began)
    return Overview(
        **{name: getattr(facts, name) for name in TaskFacts.__struct_fields__},
        series=series,
        slowest=[one.task for one in whole.slowest],
        longest_waits=[one.task for one in whole.longest_waits],
        **sections.jobs(entities.rows["jobs"], states),
        **sections.nodes(node_rows, whole.failed_on),
        **sections.actors(entities.rows["actors"]),
    )


def _function(key: FunctionKey, found: FunctionDigest) -> FunctionRow:
    _, name, kind = key
    return FunctionRow(name, kind, found.attempts, found.failed, found.retries, found.running.spread(), found.waiting.spread())


def _failure(key: FailureKey, found: Failures) -> FailureGroup:
    return found.group(key[1])
