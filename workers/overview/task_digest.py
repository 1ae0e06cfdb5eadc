"""What one merged range of tasks tells for the overview; digests of several ranges add up to the whole session's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.overview import TaskRef
from shared.snapshot_format import LoadedColumn, Scalar
from workers.overview.durations import LONGEST, Durations, durations_by_group
from workers.overview.failures import Example, Failed, FailureKey, Failures, grouped
from workers.overview.time_series import SeriesDigest, series_digest
from workers.task_events.render import DRIVER
from workers.task_events.task_range import TaskRows

# Attempts that ran or waited longest.
LONGEST_SHOWN = 20
# Functions of one range, those that ran longest in all. User-given names of tasks may all be different.
_MOST_FUNCTIONS = 2000
# Job, name, type.
FunctionKey = tuple[str, str, str]
_Ms = NDArray[np.float64]


class FunctionDigest(msgspec.Struct, array_like=True):
    attempts: int
    failed: int
    retries: int
    running: Durations
    waiting: Durations

    def add(self, other: FunctionDigest) -> None:
        self.attempts += other.attempts
        self.failed += other.failed
        self.retries += other.retries
        self.running.add(other.running)
        self.waiting.add(other.waiting)


class Timed(msgspec.Struct, array_like=True):
    """An attempt, and how long (ms) it did what it is remembered for."""

    ms: int
    task: TaskRef


class TaskDigest(msgspec.Struct, array_like=True):
    """`functions_more`, `retries`: by job, functions that are left out and attempts that were not a task's first.

    `failed_on`: failed attempts by node and error type.
    """

    functions: list[tuple[FunctionKey, FunctionDigest]] = []
    functions_more: dict[str, int] = {}
    retries: dict[str, int] = {}
    failures: list[tuple[FailureKey, Failures]] = []
    failed_on: list[tuple[tuple[str, str], int]] = []
    series: SeriesDigest = msgspec.field(default_factory=SeriesDigest)
    slowest: list[Timed] = []
    longest_waits: list[Timed] = []


def digest(rows: TaskRows) -> TaskDigest:
    """Of one range."""
    columns = rows.columns
    is_task = ~_equal(columns["type"], DRIVER)
    tasks = np.flatnonzero(is_task)
    if not tasks.size:
        return TaskDigest()
    has_failed = is_task & _equal(columns["state"], "FAILED")
    moments = _moments(rows.times)
    created, started, ended = moments[tasks].T
    failed = has_failed[tasks]
    running, waiting = _between(started, ended), _between(created, started)
    functions = _functions(columns, tasks, failed, running, waiting)
    more, retries = Counter[str](), Counter[str]()
    for (job, _, _), of_function in functions:
        retries[job] += of_function.retries
    if len(functions) > _MOST_FUNCTIONS:
        functions.sort(key=lambda item: -item[1].running.total_ms)
        more.update(job for (job, _, _), _ in functions[_MOST_FUNCTIONS:])
    failures = [_failed(rows, place) for place in np.flatnonzero(has_failed).tolist()]
    groups = []
    for key, (group, place) in grouped(failures).items():
        group.example = Example(_task(rows, place), _message(rows, place))
        groups.append((key, group))
    failed_on = Counter((one.node_id, one.error_type) for one in failures if one.node_id)
    return TaskDigest(
        functions=functions[:_MOST_FUNCTIONS],
        functions_more=dict(more),
        retries=dict(retries),
        failures=groups,
        failed_on=list(failed_on.items()),
        series=series_digest(created, started, ended, failed),
        slowest=_longest(rows, tasks, running),
        longest_waits=_longest(rows, tasks, waiting),
    )


def merged(digests: Iterable[TaskDigest]) -> TaskDigest:
    functions: dict[FunctionKey, FunctionDigest] = {}
    failures: dict[FailureKey, Failures] = {}
    failed_on: Counter[tuple[str, str]] = Counter()
    more, retries = Counter[str](), Counter[str]()
    series, slowest, waits = SeriesDigest(), list[Timed](), list[Timed]()
    for one in digests:
        for name, of_function in one.functions:
            if name in functions:
                functions[name].add(of_function)
            else:
                functions[name] = of_function
        more.update(one.functions_more)
        retries.update(one.retries)
        for key, of_group in one.failures:
            if key in failures:
                failures[key].add(of_group)
            else:
                failures[key] = of_group
        failed_on.update(dict(one.failed_on))
        series.add(one.series)
        slowest += one.slowest
        waits += one.longest_waits
    return TaskDigest(
        functions=list(functions.items()),
        functions_more=dict(more),
        retries=dict(retries),
        failures=list(failures.items()),
        failed_on=list(failed_on.items()),
        series=series,
        slowest=longest(slowest),
        longest_waits=longest(waits),
    )


def longest(timed: Iterable[Timed]) -> list[Timed]:
    return nlargest(LONGEST_SHOWN, timed, key=lambda one: (one.ms, one.task.task_id, one.task.attempt_number))


def _functions(
    columns: dict[str, LoadedColumn],
    tasks: NDArray[np.intp],
    failed: NDArray[np.bool_],
    running: _Ms,
    waiting: _Ms,
) -> list[tuple[FunctionKey, FunctionDigest]]:
    """By job, name and type."""
    jobs, names, types = columns["job_id"], columns["name"], columns["type"]
    joint = (jobs.codes.astype(np.int64) * len(names.values) + names.codes) * len(types.values) + types.codes
    keys, groups = np.unique(joint[tasks], return_inverse=True)
    retried = ~_equal(columns["attempt_number"], 0)[tasks]
    counts = [np.bincount(groups[mask], minlength=keys.size).tolist() for mask in (slice(None), failed, retried)]
    durations = []
    for took in (running, waiting):
        known = ~np.isnan(took)
        durations.append(durations_by_group(groups[known], took[known].astype(np.int64), keys.size))
    found: list[tuple[FunctionKey, FunctionDigest]] = []
    for key, *of_function in zip(keys.tolist(), *counts, *durations, strict=True):
        rest, kind = divmod(key, len(types.values))
        job, name = divmod(rest, len(names.values))
        found.append(((str(jobs.values[job]), str(names.values[name]), str(types.values[kind])), FunctionDigest(*of_function)))
    return found


def _failed(rows: TaskRows, place: int) -> Failed:
    job, error_type, function, node = (str(rows.value(name, place) or "") for name in ("job_id", "error_type", "name", "node_id"))
    return Failed(job, error_type, _message(rows, place), _ms(rows.times[place, 2]) or 0, function, node, place)


def _message(rows: TaskRows, place: int) -> str:
    return str(rows.errors.values[rows.errors.codes[place]] or "")


def _task(rows: TaskRows, place: int) -> TaskRef:
    node = rows.value("node_id", place)
    created, started, ended = map(_ms, rows.times[place])
    return TaskRef(
        rows.ids[place],
        int(rows.value("attempt_number", place) or 0),
        str(rows.value("name", place)),
        str(rows.value("job_id", place)),
        None if node is None else str(node),
        created,
        started,
        ended,
    )


def _longest(rows: TaskRows, tasks: NDArray[np.intp], took: _Ms) -> list[Timed]:
    known = np.flatnonzero(~np.isnan(took))
    if known.size > LONGEST_SHOWN:
        known = known[np.argpartition(took[known], -LONGEST_SHOWN)[-LONGEST_SHOWN:]]
    return longest(Timed(int(took[at]), _task(rows, int(tasks[at]))) for at in known)


def _equal(column: LoadedColumn, wanted: Scalar) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = np.fromiter((value == wanted for value in column.values), np.bool_, len(column.values))[column.codes]
    return equal


def _moments(times: NDArray[np.int64]) -> _Ms:
    """A row each; not a number for a time that is not known, or cannot be."""
    return np.where((times > 0) & (times < LONGEST * 10), times, np.nan)


def _between(begin: _Ms, end: _Ms) -> _Ms:
    """Clocks of two machines may differ a little: never less than nothing."""
    return np.clip(end - begin, 0, LONGEST)


def _ms(ms: np.int64) -> int | None:
    return int(ms) if 0 < ms < LONGEST * 10 else None
