"""How long many things took: mergeable, in bounded space, with quantiles to three digits."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.overview import Spread

# Longer ones (30 years) are garbage.
LONGEST = 10**12
_POWERS = np.array([10**digits for digits in range(3, 14)], np.int64)


class Durations(msgspec.Struct, array_like=True):
    """`histogram` counts durations by what they are to three digits."""

    count: int = 0
    total_ms: int = 0
    max_ms: int = 0
    histogram: dict[int, int] = {}

    def add(self, other: Durations) -> None:
        self.count += other.count
        self.total_ms += other.total_ms
        self.max_ms = max(self.max_ms, other.max_ms)
        known = self.histogram
        for value, count in other.histogram.items():
            known[value] = known.get(value, 0) + count

    def spread(self) -> Spread | None:
        """None of nothing."""
        if not self.count:
            return None
        ordered = sorted(self.histogram.items())
        # Rounding up must not lead beyond the longest.
        p50, p95 = (min(_at_rank(ordered, -(-self.count * percent // 100)), self.max_ms) for percent in (50, 95))
        return Spread(self.count, self.total_ms, p50, p95, self.max_ms)


def _at_rank(ordered: Iterable[tuple[int, int]], rank: int) -> int:
    for value, count in ordered:
        rank -= count
        if rank <= 0:
            return value
    raise AssertionError("a rank beyond the last one")


def to_three_digits(durations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rounded half up; below 1000 they are as they are. It keeps their order, so quantiles may be taken afterwards."""
    unit = 10 ** np.searchsorted(_POWERS, durations, side="right").astype(np.int64)
    return (durations + unit // 2) // unit * unit


def durations_by_group(groups: NDArray[np.intp], durations: NDArray[np.int64], count: int) -> list[Durations]:
    """One for each of `count` groups; `groups[i]` is that of `durations[i]`."""
    made = [Durations(histogram={}) for _ in range(count)]
    totals = np.zeros(count, np.int64)
    longest = np.zeros(count, np.int64)
    np.add.at(totals, groups, durations)
    np.maximum.at(longest, groups, durations)
    keys, counts = np.unique(groups.astype(np.int64) * (2 * LONGEST) + to_three_digits(durations), return_counts=True)
    for group, value, number in zip((keys // (2 * LONGEST)).tolist(), (keys % (2 * LONGEST)).tolist(), counts.tolist(), strict=True):
        of_group = made[group]
        of_group.histogram[value] = number
        of_group.count += number
    for of_group, total, maximum in zip(made, totals.tolist(), longest.tolist(), strict=True):
        of_group.total_ms, of_group.max_ms = total, maximum
    return made
