"""Two overviews side by side: functions that became slower or faster, failures that are new or gone."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from shared.overview import FailureGroup, FunctionRow, TaskFacts
from shared.ray.error_text import common_part

_Row = TypeVar("_Row")


class FunctionPair(msgspec.Struct):
    """One function; null on the side that did not have it. `ratio`: the median running time of `b` by that of `a`; null: not known."""

    name: str
    type: str
    a: FunctionRow | None
    b: FunctionRow | None
    ratio: float | None


class FailurePair(msgspec.Struct):
    """Failures of one error type that share a line; null on the side that had none."""

    error_type: str
    message: str
    a: FailureGroup | None
    b: FailureGroup | None


class Comparison(msgspec.Struct):
    """Functions by how much longer they ran in all, those that grew most first; new failures first, then by number.

    `functions_complete`, `failures_complete`: False where an overview has only its first entries: what one side lacks may be among others.
    """

    functions: list[FunctionPair]
    functions_complete: bool
    failures: list[FailurePair]
    failures_complete: bool


def compare(a: TaskFacts, b: TaskFacts) -> Comparison:
    functions = [
        FunctionPair(name, kind, before, after, _ratio(before, after))
        for (name, kind), (before, after) in _paired(
            {(row.name, row.type): row for row in a.functions}, {(row.name, row.type): row for row in b.functions}
        )
    ]
    functions.sort(key=lambda pair: (_total(pair.a) - _total(pair.b), pair.name, pair.type))
    failures = [
        FailurePair(kind, (after or before).message, before, after)  # type: ignore[union-attr]
        for (kind, _), (before, after) in _paired(
            {(group.error_type, common_part(group.message)): group for group in a.failures},
            {(group.error_type, common_part(group.message)): group for group in b.failures},
        )
    ]
    failures.sort(key=lambda pair: (pair.a is not None, pair.b is None, -(pair.b or pair.a).count, pair.message))  # type: ignore[union-attr]
    return Comparison(functions, not (a.functions_more or b.functions_more), failures, not (a.failures_more or b.failures_more))


def _paired(
    a: dict[tuple[str, str], _Row], b: dict[tuple[str, str], _Row]
) -> list[tuple[tuple[str, str], tuple[_Row | None, _Row | None]]]:
    return [(key, (a.get(key), b.get(key))) for key in {**a, **b}]


def _total(row: FunctionRow | None) -> int:
    return row.running.total_ms if row and row.running else 0


def _ratio(a: FunctionRow | None, b: FunctionRow | None) -> float | None:
    if not (a and b and a.running and b.running and a.running.p50_ms):
        return None
    return round(b.running.p50_ms / a.running.p50_ms, 3)
