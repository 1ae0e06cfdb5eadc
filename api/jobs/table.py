"""All jobs of the index in this process' memory, as far as searching needs them: it follows the index' changes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

import anyio
import msgspec
import structlog

from shared.jobs import Job, SessionJobs, unpack
from shared.store.job_index import JobIndexReader

log = structlog.get_logger()

# A search as one types asks several times a second: Redis is asked once.
_FRESH_FOR = 1.0
_BETWEEN = "\n"


class JobRow(msgspec.Struct, gc=False, frozen=True):
    """What a search looks at of one job. `place`: its number in its session's entry; `text`: all that is searched, in lower case.

    Times in ms since the epoch, 0: not known; `duration` in ms, -1: it has not ended, or its start is not known; `failures` -1: not known.
    """

    start: int
    end: int
    duration: int
    failures: int
    status: str
    namespace: str
    kind: str
    name: str
    submission_id: str
    ray_version: str
    text: str
    session: str
    place: int


by_start = attrgetter("start", "session", "place")


class JobView:
    """The index at one moment; it does not change any more, and may be searched in any thread. `rows`: the newest first."""

    def __init__(self, entries: dict[str, bytes], rows: list[JobRow]) -> None:
        self._entries = entries
        self.rows: Sequence[JobRow] = rows
        self._orders: dict[str, list[JobRow]] = {}
        # Of sessions without jobs, too. A session's key begins with its namespace.
        self._sessions = Counter(key.partition("/")[0] for key in entries)

    @property
    def namespaces(self) -> Collection[str]:
        return self._sessions.keys()

    def sessions(self, namespaces: Collection[str]) -> int:
        """How many sessions of these namespaces are in the index."""
        return sum(count for namespace, count in self._sessions.items() if namespace in namespaces)

    @property
    def names(self) -> set[str]:
        return set(self._entries)

    def ordered(self, order: str, key: Callable[[JobRow], Any], *, reverse: bool) -> Sequence[JobRow]:
        """All rows by `key`, which `order` names: put in order when it is first asked for."""
        if order not in self._orders:
            self._orders[order] = sorted(self.rows, key=key, reverse=reverse)
        return self._orders[order]

    def jobs_of(self, rows: Sequence[JobRow]) -> list[tuple[SessionJobs, Job]]:
        """Everything that the index holds of some jobs."""
        entries = {session: unpack(self._entries[session]) for session in {row.session for row in rows}}
        return [(entries[row.session], entries[row.session].jobs[row.place]) for row in rows]

    def changed(self, entries: dict[str, bytes], removed: set[str]) -> JobView:
        """The view with some sessions' entries in place of the former ones, and without others."""
        kept = {session: entry for session, entry in self._entries.items() if session not in removed}
        changed = entries.keys() | removed
        rows = [row for row in self.rows if row.session not in changed]
        for session, entry in entries.items():
            try:
                rows += job_rows(session, unpack(entry))
            except ValueError as exc:
                # Written by a worker of another version, or damaged: the session is loaded all the same when somebody enters it.
                log.warning("entry of the index of jobs not readable", session=session, error=str(exc))
        # Nearly in order already: what is kept was.
        rows.sort(key=by_start, reverse=True)
        return JobView(kept | entries, rows)


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
        if changes.count != len(self._view.names):
            removed = self._view.names - await self._reader.sessions()
        if changes.entries or removed:
            self._view = await anyio.to_thread.run_sync(self._view.changed, changes.entries, removed)
        self._last = changes.last


def job_rows(key: str, entry: SessionJobs) -> list[JobRow]:
    session = entry.session
    ref = session.ref
    of_session = (str(ref), session.cluster)
    return [
        JobRow(
            start=job.start,
            end=job.end,
            duration=job.end - job.start if job.end and job.start else -1,
            failures=-1 if job.failures is None else job.failures,
            status=job.status,
            namespace=session.namespace,
            kind=ref.kind,
            name=job.identity,
            submission_id=job.submission_id,
            ray_version=entry.ray_version,
            text=_BETWEEN.join(
                [job.submission_id, job.job_id, job.entrypoint, job.message, job.error_type, *_items(job.metadata), *of_session]
            ).lower(),
            session=key,
            place=place,
        )
        for place, job in enumerate(entry.jobs)
    ]


def _items(metadata: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in metadata.items()]
