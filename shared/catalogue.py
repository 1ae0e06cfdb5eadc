"""Which sessions the bucket holds: a listing of KubeRay's markers, kept for a short time, and what data without markers tells of."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import structlog
from cachetools import LRUCache

from shared.errors import SessionNotFound, StorageUnavailable
from shared.layout import METADATA_PREFIX, session_of_marker, session_prefix
from shared.session_zones import SessionZones
from shared.sessions import LATEST, LIVE, Session, SessionRef
from shared.storage.port import Storage
from shared.unmarked_sessions import UnmarkedSessions

log = structlog.get_logger()

# How old a look may be that did not find a session, in seconds and in multiples of what a listing took.
_ABSENT_FOR = 0.5
_ABSENT_FOR_COSTS = 5
_MOST_ABSENT = 4096


@dataclass(frozen=True, slots=True)
class _Listing:
    """One look at the markers."""

    sessions: tuple[Session, ...]
    """Newest first."""
    taken: float
    cost: float
    """Seconds that it took."""
    skipped: int
    by_ref: dict[SessionRef, Session] = field(default_factory=dict)
    """Every reference that leads to a session: by its cluster and by its owner, by name and as `latest`."""
    marked: frozenset[str] = frozenset()
    """The keys of those with a marker."""


class Catalogue:
    """The bucket's sessions, at most `max_age` seconds old. Thread-safe; one thread lists, the others wait for its listing.

    Raises StorageUnavailable when the markers cannot be listed: an outage is never an empty catalogue.
    """

    def __init__(self, storage: Storage, max_age: float, clock: Callable[[], float] = time.monotonic, *, zones: bool = True) -> None:
        """`zones=False`: sessions are taken for ones in UTC, which costs no read of each."""
        self._storage = storage
        self._unmarked = UnmarkedSessions(storage)
        self._zones = SessionZones(storage) if zones else None
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: _Listing | None = None
        self._absent: LRUCache[SessionRef, float] = LRUCache(_MOST_ABSENT)
        self._absent_lock = threading.Lock()
        self._failed_at = -math.inf
        self._failure = ""

    def sessions(self) -> list[Session]:
        """All of them, newest first."""
        return list(self._fresh(self._clock() - self._max_age).sessions)

    @property
    def skipped(self) -> int:
        """Keys below the markers' prefix that are no markers, in the last listing."""
        return self._listing.skipped if self._listing else 0

    def known(self, ref: SessionRef) -> Session | None:
        """What `ref` names by a listing that is fresh enough; None where the bucket must be asked. Never waits."""
        listing = self._listing
        return listing.by_ref.get(ref) if listing and listing.taken >= self._clock() - self._max_age else None

    def resolve(self, ref: SessionRef) -> Session:
        """The stored session that `ref` names; `latest` is the newest. Raises SessionNotFound, after a recent look.

        A session known by its real name is not lost because the bucket can't be asked now, nor do its callers wait for that.
        """
        asked = self._clock()
        listed = self._listing.by_ref.get(ref) if self._listing else None
        known = listed if ref.session not in (LATEST, LIVE) else None
        if known is not None and (self._lock.locked() or asked - self._failed_at < self._max_age):
            return known
        if listed is None and self._was_absent(ref, asked):
            raise SessionNotFound(f"no stored session {ref}")
        try:
            session = self._fresh(asked - self._max_age).by_ref.get(ref)
        except StorageUnavailable:
            if known is None:
                raise
            return known
        if session is None and ref.session != LIVE:
            listing = self._fresh(asked - self._absence_age())
            session = listing.by_ref.get(ref) or self._without_marker(ref)
            if session is None:
                with self._absent_lock:
                    self._absent[ref] = listing.taken
        if session is None:
            raise SessionNotFound(f"there is no session {ref}")
        return session

    def _was_absent(self, ref: SessionRef, asked: float) -> bool:
        """Was it looked for a moment ago, in vain?"""
        with self._absent_lock:
            return self._absent.get(ref, -math.inf) >= asked - min(self._absence_age(), self._max_age)

    def _without_marker(self, ref: SessionRef) -> Session | None:
        """One that the last walk did not see yet."""
        return _by_ref(_newest_first(_united(self._unmarked.of(ref)))).get(ref)

    def _absence_age(self) -> float:
        """Requests for sessions that are not there must not list a large bucket again and again."""
        return max(_ABSENT_FOR, _ABSENT_FOR_COSTS * self._listing.cost) if self._listing else 0.0

    def _fresh(self, not_before: float) -> _Listing:
        listing = self._listing
        if listing is not None and listing.taken >= not_before:
            return listing
        asked = self._clock()
        with self._lock:
            listing = self._listing
            if listing is not None and listing.taken >= not_before:
                return listing
            if self._failed_at > asked:
                # Who waited for a look that failed does not wait for another one.
                raise StorageUnavailable(self._failure)
            # Its age counts from before the look: what is stored during it may be missing.
            taken = self._clock()
            try:
                self._listing = listing = _list(self._storage, self._unmarked, self._zones, taken, self._clock, former=listing)
            except StorageUnavailable as exc:
                self._failed_at, self._failure = self._clock(), str(exc)
                raise
            return listing


def _list(
    storage: Storage,
    unmarked: UnmarkedSessions,
    zones: SessionZones | None,
    taken: float,
    clock: Callable[[], float],
    *,
    former: _Listing | None,
) -> _Listing:
    sessions: list[Session] = []
    skipped = 0
    for info in storage.list(METADATA_PREFIX):
        session = session_of_marker(info.key)
        if info.unreadable:
            log.warning("markers not readable", directory=info.key, error=info.unreadable)
        elif session is None:
            skipped += 1
        else:
            sessions.append(session)
    marked = frozenset(session.key for session in sessions)
    if former and (deleted := former.marked - marked):
        # The last walk saw their directories.
        unmarked.forget(deleted)
    found = _newest_first(_united([*sessions, *unmarked.sessions()]))
    offsets = zones.offsets(found) if zones else {}
    newest_first = _newest_first(replace(one, utc_offset=offsets[one.key]) if offsets.get(one.key) else one for one in found)
    return _Listing(newest_first, taken, clock() - taken, skipped, _by_ref(newest_first), marked)


def _united(found: Iterable[Session]) -> list[Session]:
    """Each session once, with all its places: it has two when its collector was upgraded, or learned of its owner, while it ran."""
    by_key: dict[str, Session] = {}
    for session in found:
        known = by_key.setdefault(session.key, session)
        if known is session:
            continue
        owned = known if known.owner_kind else session
        # A marker says where its session's data should be, a walk where it is.
        places = [*(known.prefixes or (session_prefix(known),)), *(session.prefixes or (session_prefix(session),))]
        by_key[session.key] = replace(owned, prefixes=tuple(dict.fromkeys(places)))
    return [replace(one, prefixes=()) if one.prefixes == (session_prefix(one),) else one for one in by_key.values()]


def _newest_first(sessions: Iterable[Session]) -> tuple[Session, ...]:
    return tuple(sorted(sessions, key=lambda s: (s.began, s.session, s.ref.kind, s.namespace, s.cluster), reverse=True))


def _by_ref(newest_first: Iterable[Session]) -> dict[SessionRef, Session]:
    by_ref: dict[SessionRef, Session] = {}
    for session in newest_first:
        for ref in (session.ref, SessionRef(session.namespace, "raycluster", session.cluster, session.session)):
            by_ref.setdefault(ref, session)
            by_ref.setdefault(SessionRef(ref.namespace, ref.kind, ref.name, LATEST), session)
    return by_ref
