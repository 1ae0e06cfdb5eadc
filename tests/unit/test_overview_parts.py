"""What overviews are made of: durations, groups of failures, series; all of it adds up and stays bounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.ray.error_text import common_part, headline
from workers.overview.durations import Durations, durations_by_group
from workers.overview.failures import Failed, Failures, grouped
from workers.overview.time_series import MOST_SPANS, SeriesDigest, series_digest

# Machines may be busy.
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_ms = st.integers(0, 10**12)
_moment = st.none() | st.integers(10**11, 2 * 10**12).map(float)


def _three_digits(value: int) -> int:
    unit = 10 ** max(0, len(str(value)) - 3)
    return (value + unit // 2) // unit * unit


@EXAMPLES
@given(st.lists(st.tuples(st.integers(0, 2), _ms), min_size=1, max_size=60))
def test_quantiles_are_by_nearest_rank_to_three_digits(pairs: list[tuple[int, int]]) -> None:
    groups, values = np.array([group for group, _ in pairs]), np.array([value for _, value in pairs], np.int64)
    for group, found in enumerate(durations_by_group(groups, values, 3)):
        own = sorted(value for of, value in pairs if of == group)
        spread = found.spread()
        if not own:
            assert spread is None
            continue
        assert spread is not None
        assert (spread.count, spread.total_ms, spread.max_ms) == (len(own), sum(own), own[-1])
        for share, told in ((0.5, spread.p50_ms), (0.95, spread.p95_ms)):
            assert told == min(_three_digits(own[math.ceil(len(own) * share) - 1]), own[-1])


@EXAMPLES
@given(st.lists(_ms, max_size=30), st.lists(_ms, max_size=30))
def test_durations_add_up(a: list[int], b: list[int]) -> None:
    def of(values: list[int]) -> Durations:
        return durations_by_group(np.zeros(len(values), np.intp), np.array(values, np.int64), 1)[0]

    both = of(a)
    both.add(of(b))
    assert both == of(a + b)


def _failed(place: int, message: str, ended: int = 5, function: str = "f") -> Failed:
    return Failed("01000000", "WORKER_DIED", message, ended, function, "n", place)


def test_failures_of_one_kind_are_one_group_with_the_first_as_example() -> None:
    found = grouped([_failed(0, "pid 12 died", 9), _failed(1, "pid 7 died", 3, "g"), _failed(2, "disk full", 4)])
    ((pids, place), (disk, _)) = found.values()
    assert (pids.message, pids.count, pids.first, pids.last, pids.functions, place) == ("pid 7 died", 2, 3, 9, {"f": 1, "g": 1}, 1)
    assert disk.count == 1


def test_many_different_failures_are_bounded_and_none_is_lost() -> None:
    words = [f"{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyz'[n // 100]}" for n in range(600)]
    found = grouped([*[_failed(n, f"no {word}") for n, word in enumerate(words)], _failed(999, "no abc"), _failed(1000, "no abc")])
    assert len(found) == 301
    assert sum(group.count for group, _ in found.values()) == 602
    assert max(found.values(), key=lambda item: item[0].count)[0].message == "(many different messages)"
    whole = Failures("x")
    for group, _ in found.values():
        whole.add(group)
    assert (whole.count, whole.group("WORKER_DIED").functions[0].count) == (602, 602)


_attempts = st.lists(st.tuples(_moment, _moment, _moment, st.booleans()), max_size=20)


def _series(attempts: list[tuple[Any, Any, Any, bool]]) -> SeriesDigest:
    columns = [np.array([attempt[at] for attempt in attempts], np.float64) for at in range(3)]
    return series_digest(*columns, np.array([attempt[3] for attempt in attempts], np.bool_))


@EXAMPLES
@given(_attempts, _attempts)
def test_series_add_up_and_stay_short(a: list[Any], b: list[Any]) -> None:
    both = _series(a)
    both.add(_series(b))
    times = [int(t) for attempt in a + b for t in attempt[:3] if t]
    span = (min(times), max(times)) if times else (1000, 2000)
    found, whole = both.series([(1, span[0])], *span), _series(a + b).series([(1, span[0])], *span)
    assert found == whole
    assert len(found.waiting) <= MOST_SPANS + 1
    ended = [attempt for attempt in a + b if attempt[2]]
    assert found.finished[-1] + found.failed[-1] == len(ended)
    assert found.nodes[-1] == 1


def test_a_message_comes_down_to_the_line_that_says_it() -> None:
    trace = "User exception:\nray::f() (pid=12)\n  File 'x', line 3\nmy.odd.TrainError: loss 7.5\n"
    assert headline(trace) == "my.odd.TrainError: loss 7.5"
    assert headline("The node is dead.\nSee the logs") == "The node is dead."
    assert headline("User exception:\n  in f\nodd ending") == "odd ending"
    assert headline("  one line ") == "one line"
    assert common_part("pid 12 at 10.0.0.7 of deadbeef01 0x7fff1234ab: item42") == "pid # at # of # #: item#"
