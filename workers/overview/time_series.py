"""How many attempts waited, ran and had ended, over time: counted in spans whose length follows from how long it all took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.overview import Series

# Each divides the next: what was counted in short spans can be counted in longer ones.
_SPANS_MS = (100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000)
MOST_SPANS = 300
_WAITING, _RUNNING, _FINISHED, _FAILED, _NODES = range(5)
Changes = list[tuple[int, int, int]]
_Times = NDArray[np.float64]


class SeriesDigest(msgspec.Struct, array_like=True):
    """By span: by how much each of the counts changes in it. Spans are numbered from the epoch on."""

    step_ms: int = _SPANS_MS[0]
    changes: dict[int, list[int]] = {}

    def add(self, other: SeriesDigest) -> None:
        step = max(self.step_ms, other.step_ms)
        merged: dict[int, list[int]] = {}
        for one in (self, other):
            ratio = step // one.step_ms
            for number, changes in one.changes.items():
                known = merged.get(number // ratio)
                merged[number // ratio] = changes if known is None else [a + b for a, b in zip(known, changes, strict=True)]
        self.step_ms, self.changes = step, merged

    def series(self, nodes: Iterable[tuple[int, int]], start_ms: int, end_ms: int) -> Series:
        """From the session's start to its end, or to the last change. `nodes`: by how much their number changed, and when (ms)."""
        numbers = [*self.changes, start_ms // self.step_ms, end_ms // self.step_ms]
        step = _fitting((max(numbers) - min(numbers)) * self.step_ms)
        while step < self.step_ms:
            step = _longer(step)
        ratio = step // self.step_ms
        first, last = min(numbers) // ratio, max(numbers) // ratio
        changes = np.zeros((5, last - first + 1), np.int64)
        for number, of_span in self.changes.items():
            changes[:_NODES, number // ratio - first] += of_span
        for change, at_ms in nodes:
            changes[_NODES, min(max(at_ms // step, first), last) - first] += change
        levels = changes.cumsum(axis=1).tolist()
        return Series(first * step, step, levels[_WAITING], levels[_RUNNING], levels[_FINISHED], levels[_FAILED], levels[_NODES])


def series_digest(created: _Times, started: _Times, ended: _Times, failed: NDArray[np.bool_]) -> SeriesDigest:
    """Of attempts whose times are in ms, nan where one is not known; `failed`: of those that ended."""
    over = ~np.isnan(ended)
    left_queue = np.where(np.isnan(started), ended, started)
    moments = (
        (_WAITING, 1, created),
        (_WAITING, -1, left_queue[~np.isnan(created)]),
        (_RUNNING, 1, started),
        (_RUNNING, -1, ended[~np.isnan(started)]),
        (_FINISHED, 1, ended[over & ~failed]),
        (_FAILED, 1, ended[over & failed]),
    )
    known = [(which, change, times[~np.isnan(times)].astype(np.int64)) for which, change, times in moments]
    present = [times for _, _, times in known if times.size]
    if not present:
        return SeriesDigest()
    step = _fitting(max(int(times.max()) for times in present) - min(int(times.min()) for times in present))
    changes: dict[int, list[int]] = {}
    for which, change, times in known:
        numbers, counts = np.unique(times // step, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            changes.setdefault(number, [0, 0, 0, 0])[which] += change * count
    return SeriesDigest(step, changes)


def node_changes(lives: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """When (ms) how many nodes came or went; `lives`: start and end of each, 0 for none."""
    return [(1, start) for start, _ in lives if start] + [(-1, end) for start, end in lives if start and end]


def _fitting(length_ms: int) -> int:
    """The shortest span of which `length_ms` has few enough."""
    step = _SPANS_MS[0]
    while length_ms // step >= MOST_SPANS:
        step = _longer(step)
    return step


def _longer(step: int) -> int:
    return next((longer for longer in _SPANS_MS if longer > step), step * 7)
