"""Goes through the bucket again and again: looks at sessions that are new or may have changed, and tells the index of their jobs.

It runs in a process of its own beside the lanes of each worker; of all workers one lists at a time, by a lock in Redis.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

import structlog

from shared.catalogue import Catalogue
from shared.errors import HistoryError, StoreUnavailable
from shared.jobs import SessionJobs, merged, unpack
from shared.metrics import JOB_LOOKS, JOB_PASS_SECONDS
from shared.sessions import Session
from shared.settings import JobIndexSettings, Settings
from shared.storage.factory import open_storage
from shared.storage.metered import MeteredStorage
from shared.storage.port import Storage
from shared.store.client import open_redis
from shared.store.job_index import JobIndex, Look
from shared.store.keys import Keyspace
from workers.job_index.look import list_job_files, read_jobs

log = structlog.get_logger()

# Sessions of one pass: what is new meanwhile must not wait for ten thousand old ones.
_LOOKS_AT_ONCE, _LOOKS_IN_A_PASS = 8, 400
# A lister that is lost is replaced after so many seconds.
_LEASE = 30.0
# A session that did not change for a while is looked at again after a tenth of that, and at least once a day. In ms.
_SHARE, _SELDOM = 10, 86_400_000
# One that could not be looked at is passed over for so long: others have their turn.
_AFTER_FAILURE = 120_000
_M_ARENA_MAX = -8  # <malloc.h>


def run(settings: Settings) -> int:
    """Until the process is ended. Everything is opened here, after the fork."""
    _share_one_arena()
    lister: JobLister | None = None
    while True:
        left = 0
        try:
            lister = lister or _open(settings)
            left = lister.run_once()
        except HistoryError as exc:
            log.warning("index of jobs not filled", code=exc.code, error=str(exc))
        except Exception:
            # The process' boundary: the next pass may do better, and the worker's loads go on in any case.
            log.exception("index of jobs not filled")
        if not left:
            # More often than a pass is due: another worker's may have ended at any time.
            time.sleep(settings.jobs.job_index_interval / 4)


def _share_one_arena() -> None:
    """By itself the C library gives each thread of a pass memory of its own, and keeps it."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, 1)


def _open(settings: Settings) -> JobLister:
    index = JobIndex(open_redis(settings.redis), Keyspace.of(settings))
    return JobLister(MeteredStorage(open_storage(settings.storage)), index, settings.jobs)


class JobLister:
    """`clock`: seconds since the epoch."""

    def __init__(self, storage: Storage, index: JobIndex, settings: JobIndexSettings, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._index = index
        self._settings = settings
        self._clock = clock
        self._catalogue = Catalogue(storage, 0, zones=False)
        self._failed: dict[str, int] = {}
        """Until when sessions are passed over, in ms since the epoch."""

    def run_once(self) -> int:
        """One pass, if one is due and no other worker is at it. Returns how many sessions are left to look at now.

        Raises StorageUnavailable when the bucket can't be listed, StoreUnavailable.
        """
        with self._index.as_lister(_LEASE) as lost:
            began = self._now()
            if lost is None or 0 <= began - self._index.passed() < self._settings.job_index_interval * 1000:
                return 0
            looks = self._index.looks()
            sessions = {one.key: one for one in self._catalogue.sessions()[: self._settings.job_index_sessions]}
            self._failed = {key: until for key, until in self._failed.items() if until > began and key in sessions}
            due = [one for key, one in sessions.items() if key not in self._failed and self._is_due(looks.get(key), began)]
            self._look_at(due[:_LOOKS_IN_A_PASS], looks, lost)
            # A load tells of its session whether anybody has looked at it or not.
            gone = [key for key in self._index.sessions() if key not in sessions]
            self._remove(gone, full=len(sessions) >= self._settings.job_index_sessions)
            left = max(0, len(due) - _LOOKS_IN_A_PASS)
            # While some are left, the next pass is due at once.
            self._index.end_pass(passed=0 if left else self._now(), listed=began, left=left, failed=len(self._failed))
            JOB_PASS_SECONDS.observe((self._now() - began) / 1000)
            return left

    def _look_at(self, sessions: Sequence[Session], looks: dict[str, Look], lost: threading.Event) -> None:
        """What each look found is written as it comes: a pass may be cut off."""
        with ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="job-index") as pool:
            found = {pool.submit(self._look, one, looks.get(one.key)): one for one in sessions}
            try:
                for look in as_completed(found):
                    if lost.is_set():
                        log.info("another worker lists the bucket")
                        return
                    self._note(found[look], look)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _note(self, session: Session, look: Future[Look]) -> None:
        """A session that could not be looked at costs only itself; without Redis nothing can be noted. Raises StoreUnavailable."""
        try:
            self._index.note({session.key: look.result()})
        except StoreUnavailable:
            raise
        except Exception as exc:
            self._failed[session.key] = self._now() + _AFTER_FAILURE
            JOB_LOOKS.labels("failed").inc()
            if isinstance(exc, HistoryError):
                log.warning("jobs of a session not known", session=session.key, code=exc.code, error=str(exc))
            else:
                log.exception("jobs of a session not known", session=session.key)

    def _look(self, session: Session, former: Look | None) -> Look:
        files = list_job_files(self._storage, session)
        digest, now = files.digest(), self._now()
        if former is not None and former.digest == digest:
            JOB_LOOKS.labels("unchanged").inc()
            return Look(digest, former.changed, self._next(former.changed))
        known = self._index.entry(session.key)
        told = read_jobs(self._storage, session, files)
        if (stored := _readable(session.key, known)) and stored.complete is not None:
            told = merged(stored, told)
        JOB_LOOKS.labels("changed").inc()
        if not self._index.put(session.key, told, former=known):
            # A load has told more meanwhile.
            return Look("", now, now)
        changed = now if former is not None else min(now, round(session.began.timestamp() * 1000))
        return Look(digest, changed, self._next(changed))

    def _next(self, changed: int) -> int:
        now = self._now()
        return now + min(max((now - changed) // _SHARE, self._interval), _SELDOM)

    def _is_due(self, look: Look | None, now: int) -> bool:
        """Also one that is due later than any look can make it: the clock of who looked was ahead."""
        return look is None or not now < look.due <= now + max(_SELDOM, self._interval)

    @property
    def _interval(self) -> int:
        return round(self._settings.job_index_interval * 1000)

    def _remove(self, keys: Iterable[str], *, full: bool) -> None:
        """What the catalogue does not name any more. It may not have found a session without a marker: the bucket is asked."""
        gone = [key for key in keys if full or not self._is_stored(key)]
        self._index.remove(gone)
        JOB_LOOKS.labels("removed").inc(len(gone))

    def _is_stored(self, key: str) -> bool:
        entry = _readable(key, self._index.entry(key))
        return entry is not None and list_job_files(self._storage, entry.session).found

    def _now(self) -> int:
        return round(self._clock() * 1000)


def _readable(key: str, entry: bytes) -> SessionJobs | None:
    """None for an entry that is not there, or damaged: it is written anew."""
    try:
        return unpack(entry) if entry else None
    except ValueError as exc:
        log.warning("entry of the index of jobs not readable", session=key, error=str(exc))
        return None
