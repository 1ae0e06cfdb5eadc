"""What one merged range of tasks tells for the overview; digests of several ranges add up to the whole session's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nlargest

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared import snapshot_format as fmt
from shared.overview import TaskRef
from shared.ray.columns import TASKS
from shared.snapshot_format import LoadedColumn, PartIndex
from workers.overview.durations import LONGEST, Durations, durations_by_group
from workers.overview.failures import Example, Failed, FailureKey, Failures, grouped
from workers.overview.row_times import Times, read_rows, row_at
from workers.overview.time_series import SeriesDigest, series_digest
from workers.task_events.render import DRIVER

# Attempts that ran or waited longest.
LONGEST_SHOWN = 20
# Functions of one range, those that ran longest in all. User-given names of tasks may all be different.
_MOST_FUNCTIONS = 2000
_NO_TIME = np.nan
# Job, name, type.
FunctionKey = tuple[str, str, str]
_Places = NDArray[np.intp]


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


class _Rows:
    """The rows of a range, in the order of its blocks, in which rows of a job lie together."""

    def __init__(self, number: int, index: PartIndex, fields: Mapping[str, bytes]) -> None:
        self._starts = index.blocks
        self._number, self._fields = number, fields
        jobs = self._unpacked("job_id")
        self._order = np.argsort(jobs.codes, kind="stable")

    def _unpacked(self, name: str) -> LoadedColumn:
        return LoadedColumn.unpack(self._fields[fmt.column_field(TASKS.name, self._number, name)])

    def column(self, name: str) -> LoadedColumn:
        column = self._unpacked(name)
        return LoadedColumn(column.values, column.codes[self._order])

    def block(self, number: int) -> bytes:
        return fmt.decompress(self._fields[fmt.block_field(TASKS.name, self._number, number, detail=True)])

    def read(self, failed: _Places) -> tuple[Times, list[str]]:
        """The times of all rows, and the error messages of those that failed."""
        times: Times = []
        messages: list[str] = []
        edges = np.searchsorted(failed, self._starts).tolist()
        for number, start in enumerate(self._starts[:-1]):
            in_block = (failed[edges[number] : edges[number + 1]] - start).tolist()
            of_block, said = read_rows(self.block(number), self._starts[number + 1] - start, in_block)
            times += of_block
            messages += said
        return times, messages

    def task(self, place: int) -> tuple[TaskRef, str]:
        """An attempt, and its error's message."""
        block = int(np.searchsorted(self._starts, place, side="right")) - 1
        row = row_at(self.block(block), place - self._starts[block])
        created, started, ended = (_ms(ms) for ms in (row.creation_time_ms, row.start_time_ms, row.end_time_ms))
        ref = TaskRef(row.task_id, row.attempt_number, row.name, row.job_id, row.node_id, created, started, ended)
        return ref, row.error_message or ""


def digest(number: int, index: PartIndex, fields: Mapping[str, bytes]) -> TaskDigest:
    """Of part `number` of the table of tasks."""
    if not index.rows:
        return TaskDigest()
    rows = _Rows(number, index, fields)
    columns = {name: rows.column(name) for name in ("job_id", "name", "type", "state", "node_id", "error_type", "attempt_number")}
    tasks = np.flatnonzero(~_equal(columns["type"], DRIVER))
    if not tasks.size:
        return TaskDigest()
    has_failed = _equal(columns["state"], "FAILED")
    has_failed[_equal(columns["type"], DRIVER)] = False
    failed_places = np.flatnonzero(has_failed)
    times, messages = rows.read(failed_places)
    moments = _moments(times)
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
    ends = np.nan_to_num(moments[failed_places, 2]).astype(np.int64).tolist()
    failures = [_failed(columns, *one) for one in zip(messages, ends, failed_places.tolist(), strict=True)]
    groups = []
    for key, (group, place) in grouped(failures).items():
        group.example = Example(*rows.task(place))
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
    columns: dict[str, LoadedColumn], tasks: _Places, failed: NDArray[np.bool_], running: NDArray[np.float64], waiting: NDArray[np.float64]
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


def _failed(columns: dict[str, LoadedColumn], message: str, ended: int, place: int) -> Failed:
    def of(name: str) -> str:
        column = columns[name]
        return str(column.values[column.codes[place]] or "")

    return Failed(of("job_id"), of("error_type"), message, ended, of("name"), of("node_id"), place)


def _longest(rows: _Rows, tasks: _Places, took: NDArray[np.float64]) -> list[Timed]:
    known = np.flatnonzero(~np.isnan(took))
    if known.size > LONGEST_SHOWN:
        known = known[np.argpartition(took[known], -LONGEST_SHOWN)[-LONGEST_SHOWN:]]
    return longest(Timed(int(took[at]), rows.task(int(tasks[at]))[0]) for at in known)


def _equal(column: LoadedColumn, wanted: fmt.Scalar) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = np.fromiter((value == wanted for value in column.values), np.bool_, len(column.values))[column.codes]
    return equal


def _moments(times: Times) -> NDArray[np.float64]:
    """A row each; not a number for a time that is not known, or cannot be."""
    moments = np.array(times, np.float64).reshape(-1, 3)
    moments[~((moments > 0) & (moments < LONGEST * 10))] = _NO_TIME
    return moments


def _between(begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clocks of two machines may differ a little: never less than nothing."""
    return np.clip(end - begin, 0, LONGEST)


def _ms(ms: float | None) -> int | None:
    return int(ms) if ms and 0 < ms < LONGEST * 10 else None
