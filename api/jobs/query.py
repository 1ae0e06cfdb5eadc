"""What `/jobs` can be asked: words, filters, a time range, an order, and where a page begins."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec

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
    begin = _begin_after(matching, key, _read_cursor(cursor, query.sort), reverse=reverse) if cursor else 0
    rows = matching[begin : begin + limit]
    following = _make_cursor(query.sort, key(rows[-1])) if begin + limit < len(matching) else None
    return JobPage(rows, len(matching), following)


def _begin_after(rows: Sequence[JobRow], key: Callable[[JobRow], Any], last: tuple[Any, ...], *, reverse: bool) -> int:
    """The place of the first row behind the one whose key is `last`, whether that is still there or not."""
    try:
        return len(rows) - bisect_left(rows[::-1], last, key=key) if reverse else bisect_right(rows, last, key=key)
    except TypeError:
        raise InvalidQuery("the cursor is not one of this server's") from None


def _make_cursor(sort: str, key: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([sort, *key])).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> tuple[Any, ...]:
    try:
        of, *key = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[str | int])
    except (binascii.Error, ValueError):
        raise InvalidQuery("the cursor is not one of this server's") from None
    if of != sort:
        raise InvalidQuery(f"the cursor is one of sort={of}")
    return tuple(key)


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
