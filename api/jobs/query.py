"""What `/jobs` can be asked: words, filters, a time range, an order, and where a page begins."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, cast
from urllib.parse import quote, unquote

import numpy as np

from api.jobs.table import JobRow, JobView, RowNumbers, SearchedSession
from shared.errors import InvalidQuery
from shared.jobs import STATUSES
from shared.sessions import KINDS

# With less than one row in so many left, a look at the text of each is faster than a search in all.
_FEW = 20
# The last two tell any two jobs apart: a page goes on behind one of them.
_KEYS: dict[str, Callable[[JobRow], tuple[Any, ...]]] = {
    "start": attrgetter("start", "session", "place"),
    "end": attrgetter("end", "session", "place"),
    "duration": attrgetter("duration", "session", "place"),
    "failures": attrgetter("failures", "start", "session", "place"),
    "status": attrgetter("status", "start", "session", "place"),
    "name": attrgetter("name", "start", "session", "place"),
}
SORTS = tuple(sorted([*_KEYS, *(f"-{name}" for name in _KEYS)]))
DEFAULT_SORT = "-start"
# Start, end, duration, failures, place, status, session and name of a page's last row: all that any order asks for.
CURSOR = r"(-?\d{1,15}),(-?\d{1,15}),(-?\d{1,15}),(-?\d{1,15}),(\d{1,9}),([A-Za-z0-9%_.~/-]*),([A-Za-z0-9%_.~/-]*),([A-Za-z0-9%_.~/-]*)"


@dataclass(frozen=True, slots=True)
class JobQuery:
    """`words`: all of them must be somewhere in the job's text. `since`, `until`: the job ran at some time between, in ms since the epoch.

    `namespaces`: the only ones whose jobs the caller may see; None: all.
    """

    words: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    namespace: str = ""
    kind: str = ""
    ray_version: str = ""
    since: int | None = None
    until: int | None = None
    sort: str = DEFAULT_SORT
    namespaces: Collection[str] | None = None

    def matching(self, view: JobView, order: RowNumbers) -> RowNumbers:
        """The rows that match, in this order."""
        if self.namespaces is not None or self.namespace or self.kind or self.ray_version:
            order = order[view.of_sessions(self._wants)[order]]
        if self.statuses:
            order = order[np.isin(view.column("status"), [status.encode() for status in self.statuses])[order]]
        if self.since is not None:
            start, end = view.column("start"), view.column("end")
            order = order[(np.where(end > 0, end, start) >= self.since)[order]]
        if self.until is not None:
            order = order[(view.column("start") < self.until)[order]]
        for word in sorted(self.words, key=len, reverse=True):
            few = len(order) * _FEW < len(view)
            order = view.those_with(word, order) if few else order[view.rows_with(word)[order]]
        return order

    def _wants(self, session: SearchedSession) -> bool:
        return (
            (self.namespaces is None or session.namespace in self.namespaces)
            and (not self.namespace or session.namespace == self.namespace)
            and (not self.kind or session.kind == self.kind)
            and (not self.ray_version or f"{session.ray_version}.".startswith(f"{self.ray_version}."))
        )


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some of the jobs that match, how many there are in all, and the cursor of the next page; None: this is the last one."""

    rows: Sequence[JobRow]
    total: int
    next: str | None


def parse_query(
    *, q: str, status: str, namespace: str, kind: str, since: str, until: str, ray_version: str, sort: str
) -> JobQuery:  # fmt: skip
    """`status`: several by commas. Raises InvalidQuery for words that no job could have."""
    statuses = frozenset(word.strip().upper() for word in status.split(",") if word.strip())
    for wrong in sorted(statuses - set(STATUSES)):
        raise InvalidQuery(f"status={wrong!r}: use some of {', '.join(STATUSES)}")
    if kind and kind.lower() not in KINDS:
        raise InvalidQuery(f"kind={kind!r}: use one of {', '.join(KINDS)}")
    if sort and sort not in SORTS:
        raise InvalidQuery(f"sort={sort!r}: use one of {', '.join(SORTS)}")
    return JobQuery(
        words=tuple(q.lower().split()),
        statuses=statuses,
        namespace=namespace,
        kind=kind.lower(),
        ray_version=ray_version.rstrip("."),
        since=_moment("since", since),
        until=_moment("until", until),
        sort=sort or DEFAULT_SORT,
    )


def select(view: JobView, query: JobQuery, limit: int, cursor: str = "") -> JobPage:
    """A page of the jobs that match. It reads nothing. Raises InvalidQuery for a cursor not ours."""
    by = query.sort.removeprefix("-")
    reverse = query.sort.startswith("-")
    order = view.order(by)
    matching = query.matching(view, order[::-1] if reverse else order)
    begin = _begin_after(view, matching, _KEYS[by], _read_cursor(cursor), reverse=reverse) if cursor else 0
    rows = [view.row(number) for number in matching[begin : begin + limit].tolist()]
    following = _make_cursor(rows[-1]) if begin + limit < len(matching) else None
    return JobPage(rows, len(matching), following)


def _begin_after(view: JobView, rows: RowNumbers, key: Callable[[JobRow], Any], last: JobRow, *, reverse: bool) -> int:
    """The place of the first row behind `last`, whether that is still there or not."""
    ascending = cast("Sequence[int]", rows[::-1] if reverse else rows)
    bisect = bisect_left if reverse else bisect_right
    place = bisect(ascending, key(last), key=lambda number: key(view.row(number)))
    return len(rows) - place if reverse else place


def _make_cursor(row: JobRow) -> str:
    numbers, texts = (row.start, row.end, row.duration, row.failures, row.place), (row.status, row.session, row.name)
    return ",".join([*map(str, numbers), *map(quote, texts)])


def _read_cursor(text: str) -> JobRow:
    """The row that it names, which may be gone by now; what orders do not ask for is empty."""
    found = re.fullmatch(CURSOR, text, re.ASCII)
    if not found:
        raise InvalidQuery("the cursor is not one of this server's")
    start, end, duration, failures, place = map(int, found.groups()[:5])
    status, session, name = map(unquote, found.groups()[5:])
    return JobRow(start, end, duration, failures, status, name, session, place)


def _moment(name: str, text: str) -> int | None:
    """RFC 3339 with a zone, a date (UTC), or seconds since the epoch; in ms since the epoch."""
    if not text:
        return None
    try:
        # A `+` that was not escaped comes as a space.
        moment = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text.replace(" ", "+"))
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise InvalidQuery(f"{name}={text!r}: write 2026-11-23T19:00:00Z, 2026-11-23 or seconds since the epoch") from None
