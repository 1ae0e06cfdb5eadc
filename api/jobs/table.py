"""All jobs of the index in this process' memory, as far as searching needs them: in columns and texts. It follows the index' changes."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from api.jobs.texts import Mask, Texts, begins, searched
from shared.jobs import Job, SessionJobs, unpack, unpack_some
from shared.store.job_index import JobIndexReader

log = structlog.get_logger()

# A search as one types asks several times a second: Redis is asked once.
_FRESH_FOR = 1.0

RowNumbers = NDArray[np.intp]

# What is kept of each job. `place`: its number in its session's entry; `session`: the number of its session; `length`: of its text.
_COLUMNS = np.dtype(
    [
        ("start", "i8"), ("end", "i8"), ("duration", "i8"), ("failures", "i8"),
        ("place", "i4"), ("session", "i4"), ("length", "i4"), ("status", "S16"),
    ]
)  # fmt: skip


class JobRow(msgspec.Struct, gc=False, frozen=True):
    """What orders and pages need of one job. `session`: its session's key; `place`: its number in that session's entry.

    Times in ms since the epoch, 0: not known; `duration` in ms, -1: it has not ended, or its start is not known; `failures` -1: not known.
    """

    start: int
    end: int
    duration: int
    failures: int
    status: str
    name: str
    session: str
    place: int


class SearchedSession(msgspec.Struct, gc=False, frozen=True):
    """What filters ask of a session, and how much of a view is its own."""

    key: str
    namespace: str
    kind: str
    ray_version: str
    jobs: int
    text_length: int


class _Part(msgspec.Struct, frozen=True):
    """Some sessions with consecutive keys, and their jobs. What its columns say of `session` is of no account."""

    sessions: Sequence[SearchedSession]
    columns: NDArray[Any]
    names: Sequence[str]
    text: bytes | memoryview
    session_text: bytes | memoryview


class JobView:
    """The index at one moment; it does not change any more, and may be searched in any thread.

    Rows are numbered by session key and place: a stable sort by a column leaves equal ones in that order.
    """

    def __init__(self, entries: dict[str, bytes], parts: Sequence[_Part]) -> None:
        """`entries`: by session key, as Redis holds them; `parts`: those that can be read, by session key."""
        self._entries = entries
        self._sessions = [session for part in parts for session in part.sessions]
        self._keys = [session.key for session in self._sessions]
        self._columns = np.concatenate([np.empty(0, _COLUMNS), *(part.columns for part in parts)])
        counts = [session.jobs for session in self._sessions]
        self._first_row = begins(counts)
        self._columns["session"] = np.repeat(np.arange(len(counts)), counts)
        self._names = [name for part in parts for name in part.names]
        self._texts = Texts((part.text for part in parts), self._columns["length"])
        self._session_texts = Texts((part.session_text for part in parts), (session.text_length for session in self._sessions))
        # Of sessions without jobs, too. A session's key begins with its namespace.
        self._namespaces = Counter(key.partition("/")[0] for key in entries)
        # Of no method, which would keep the view until the garbage of cycles is collected.
        self.order = cache(partial(_order, self._columns, self._names))

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def namespaces(self) -> Collection[str]:
        return self._namespaces.keys()

    def sessions(self, namespaces: Collection[str]) -> int:
        """How many sessions of these namespaces are in the index."""
        return sum(count for namespace, count in self._namespaces.items() if namespace in namespaces)

    @property
    def session_keys(self) -> set[str]:
        """Of all entries, readable or not."""
        return set(self._entries)

    def column(self, name: str) -> NDArray[Any]:
        """A field of JobRow for all rows; `status` in bytes. Not for `name` and `session`."""
        column: NDArray[Any] = self._columns[name]
        return column

    def of_sessions(self, wanted: Callable[[SearchedSession], bool]) -> Mask:
        """The rows of some sessions."""
        mask: Mask = np.fromiter(map(wanted, self._sessions), bool, len(self._sessions))[self._columns["session"]]
        return mask

    def rows_with(self, word: str) -> Mask:
        """The rows that have `word`, in lower case and without white space, in their text or in that of their session."""
        sought = word.encode()
        mask: Mask = self._texts.holding(sought) | self._session_texts.holding(sought)[self._columns["session"]]
        return mask

    def those_with(self, word: str, rows: RowNumbers) -> RowNumbers:
        """The same among a few rows: only their texts are looked at."""
        sought = word.encode()
        mask: Mask = self._texts.those_holding(sought, rows)
        mask |= self._session_texts.holding(sought)[self._columns["session"][rows]]
        return rows[mask]

    def submitted(self, submission_id: str, namespaces: Collection[str]) -> list[tuple[SessionJobs, Job]]:
        """The jobs of these namespaces that were submitted under this id, the newest first."""
        found = self.of_sessions(lambda session: session.namespace in namespaces)
        for word in submission_id.lower().split():
            found = found & self.rows_with(word)
        newest = self.order("start")[::-1]
        jobs = self.jobs_of([self.row(number) for number in newest[found[newest]].tolist()])
        return [(entry, job) for entry, job in jobs if job.submission_id == submission_id]

    def row(self, number: int) -> JobRow:
        start, end, duration, failures, place, session, _, status = self._columns[number].tolist()
        return JobRow(start, end, duration, failures, status.decode(), self._names[number], self._keys[session], place)

    def jobs_of(self, rows: Sequence[JobRow]) -> list[tuple[SessionJobs, Job]]:
        """Everything that the index holds of some jobs, each with its session, which has only those of its jobs."""
        places: dict[str, list[int]] = {}
        for row in rows:
            places.setdefault(row.session, []).append(row.place)
        entries = {session: unpack_some(self._entries[session], wanted) for session, wanted in places.items()}
        jobs = {session: iter(entry.jobs) for session, entry in entries.items()}
        return [(entries[row.session], next(jobs[row.session])) for row in rows]

    def changed(self, entries: dict[str, bytes], removed: set[str]) -> JobView:
        """The view with some sessions' entries in place of the former ones, and without others."""
        gone = entries.keys() | removed
        cuts = {0, len(self._keys)}
        for key in gone:
            place = bisect_left(self._keys, key)
            cuts |= {place, place + 1} if self._keys[place : place + 1] == [key] else {place}
        parts = [self._part(first, end) for first, end in pairwise(sorted(cuts)) if self._keys[first] not in gone]
        for key, entry in entries.items():
            try:
                parts.append(_part(key, unpack(entry)))
            except (ValueError, OverflowError) as exc:
                # Written by a worker of another version, or damaged: the session is loaded all the same when somebody enters it.
                log.warning("entry of the index of jobs not readable", session=key, error=str(exc))
        parts.sort(key=lambda part: part.sessions[0].key)
        return JobView({key: entry for key, entry in self._entries.items() if key not in removed} | entries, parts)

    def _part(self, first: int, end: int) -> _Part:
        first_row, end_row = int(self._first_row[first]), int(self._first_row[end])
        return _Part(
            sessions=self._sessions[first:end],
            columns=self._columns[first_row:end_row],
            names=self._names[first_row:end_row],
            text=self._texts.piece(first_row, end_row),
            session_text=self._session_texts.piece(first, end),
        )


class JobTable:
    """One per API process."""

    def __init__(self, reader: JobIndexReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = anyio.Lock()
        self._asked = -_FRESH_FOR
        self._last = 0.0
        self._view = JobView({}, [])

    async def view(self) -> JobView:
        """What the index holds now, give or take a second. Raises StoreUnavailable."""
        if self._clock() - self._asked >= _FRESH_FOR:
            async with self._lock:
                asked = self._clock()
                if asked - self._asked >= _FRESH_FOR:
                    await self._follow()
                    self._asked = asked
        return self._view

    async def _follow(self) -> None:
        changes = await self._reader.changes(self._last)
        removed: set[str] = set()
        if changes.count != len(self._view.session_keys | changes.entries.keys()):
            removed = self._view.session_keys - await self._reader.sessions()
        if changes.entries or removed:
            self._view = await anyio.to_thread.run_sync(self._view.changed, changes.entries, removed)
        self._last = changes.last


def _part(key: str, entry: SessionJobs) -> _Part:
    """Raises OverflowError for numbers that no job has."""
    session = entry.session
    ref = session.ref
    texts = [
        searched([job.submission_id, job.job_id, job.entrypoint, job.message, job.error_type, *_items(job.metadata)]) for job in entry.jobs
    ]
    rows = [
        (
            job.start,
            job.end,
            job.end - job.start if job.end and job.start else -1,
            -1 if job.failures is None else job.failures,
            place,
            0,
            len(text),
            job.status.encode("ascii", "replace"),
        )
        for place, (job, text) in enumerate(zip(entry.jobs, texts, strict=True))
    ]
    session_text = searched([str(ref), session.cluster])
    return _Part(
        sessions=[SearchedSession(key, session.namespace, ref.kind, entry.ray_version, len(rows), len(session_text))],
        columns=np.array(rows, _COLUMNS),
        names=[job.identity for job in entry.jobs],
        text=b"".join(texts),
        session_text=session_text,
    )


def _order(columns: NDArray[Any], names: Sequence[str], by: str) -> RowNumbers:
    """All rows, the smallest first, by `start`, `end` or `duration`; by `failures`, `status` or `name`, and then by `start`."""
    if by in ("failures", "status"):
        return np.lexsort((columns["start"], columns[by]))
    order = np.argsort(columns["start" if by == "name" else by], kind="stable")
    return np.array(sorted(order.tolist(), key=names.__getitem__), np.intp) if by == "name" else order


def _items(metadata: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in metadata.items()]
