"""What `/jobs` can be asked: words, filters, a time range, an order, and where a page begins."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from urllib.parse import quote, unquote

from api.jobs.table import JobRow, JobView, by_start
from shared.errors import InvalidQuery
from shared.jobs import STATUSES
from shared.sessions import KINDS

# The last two tell any two jobs apart: a page goes on behind one of them.
_KEYS: dict[str, Callable[[JobRow], tuple[Any, ...]]] = {
    "start": by_start,
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

    def matching(self, rows: Sequence[JobRow]) -> Sequence[JobRow]:
        """In the same order. One filter after the other: there may be a hundred thousand rows, and a call for each would take longest."""
        if self.namespaces is not None:
            rows = [row for row in rows if row.namespace in self.namespaces]
        if self.statuses:
            rows = [row for row in rows if row.status in self.statuses]
        if self.since is not None:
            rows = [row for row in rows if (row.end or row.start) >= self.since]
        if self.until is not None:
            rows = [row for row in rows if row.start < self.until]
        for name in ("namespace", "kind"):
            if wanted := getattr(self, name):
                rows = [row for row in rows if getattr(row, name) == wanted]
        if self.ray_version:
            rows = [row for row in rows if f"{row.ray_version}.".startswith(f"{self.ray_version}.")]
        for word in sorted(self.words, key=len, reverse=True):
            rows = [row for row in rows if word in row.text]
        return rows


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
    """A page of the jobs that match. It costs a look at every job's row, and reads nothing. Raises InvalidQuery for a cursor not ours."""
    reverse = query.sort.startswith("-")
    key = _KEYS[query.sort.removeprefix("-")]
    everything = view.rows if query.sort == DEFAULT_SORT else view.ordered(query.sort, key, reverse=reverse)
    matching = query.matching(everything)
    begin = _begin_after(matching, key, key(_read_cursor(cursor)), reverse=reverse) if cursor else 0
    rows = matching[begin : begin + limit]
    following = _make_cursor(rows[-1]) if begin + limit < len(matching) else None
    return JobPage(rows, len(matching), following)


def _begin_after(rows: Sequence[JobRow], key: Callable[[JobRow], Any], last: tuple[Any, ...], *, reverse: bool) -> int:
    """The place of the first row behind the one whose key is `last`, whether that is still there or not."""
    return len(rows) - bisect_left(rows[::-1], last, key=key) if reverse else bisect_right(rows, last, key=key)


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
    return JobRow(start, end, duration, failures, status, "", "", name, "", "", "", session, place)


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
