"""Sessions that no marker of today tells of: their head was killed hard, only an event collector ran, or a KubeRay of another layout wrote
them. Found by walking the directories above sessions, never the files in them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import structlog

from shared.errors import InvalidReference, StorageUnavailable
from shared.layout import HISTORY_PREFIX, OLD_METADATA_PREFIX, old_session, session_of_old_marker, session_prefix
from shared.sessions import KINDS, Session, SessionRef, created_at
from shared.storage.port import Storage

log = structlog.get_logger()

# A walk asks for at most so many directories, some at once, and the next one comes after so many seconds.
_MOST_DIRECTORIES = 20_000
_AT_ONCE = 8
_EVERY = 300.0
_OF_ONE_OWNER = 20
# How long the first listing waits for the first walk: in a small bucket nothing is missing at any time.
_PATIENCE = 1.0
_NOT_SESSIONS = frozenset({"cluster-metadata", "cluster-history", "metadir"})


class UnmarkedSessions:
    """What the last walk found; it goes on in a thread of its own. Thread-safe."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._lock = threading.Lock()
        self._walk: threading.Thread | None = None
        self._begun = -_EVERY
        self._found: tuple[Session, ...] = ()

    def sessions(self) -> Sequence[Session]:
        """Every session that has a directory, those with a marker included; at most a few minutes old."""
        with self._lock:
            if self._clock() - self._begun >= _EVERY and not (self._walk and self._walk.is_alive()):
                self._begun = self._clock()
                self._walk = threading.Thread(target=self._look, name="sessions-without-marker", daemon=True)
                self._walk.start()
            walk = self._walk
        if walk and not self._found:
            walk.join(_PATIENCE)
        return self._found

    def forget(self, keys: Collection[str]) -> None:
        """Sessions that were deleted since the last walk, as their markers say; the next one sees what is left of them."""
        self._found = tuple(session for session in self._found if session.key not in keys)

    def of(self, ref: SessionRef) -> list[Session]:
        """Those of one cluster or owner, looked for now. Raises StorageUnavailable."""
        if ref.kind != "raycluster":
            owner = f"{HISTORY_PREFIX}{ref.kind}/{ref.namespace}/{ref.name}/"
            levels = [f"{owner}{name}/" for name in self._storage.directories(owner)[:_OF_ONE_OWNER]]
            return [session for level in levels for session in _sessions_in(level, self._storage.directories(level))]
        level = f"{HISTORY_PREFIX}raycluster/{ref.namespace}/{ref.name}/"
        found = list(_sessions_in(level, self._storage.directories(level)))
        # The bucket can be asked: who may not look there has no such sessions.
        with suppress(StorageUnavailable):
            found += old_sessions(self._storage, [f"{ref.name}_{ref.namespace}"])
        return found

    def _look(self) -> None:
        try:
            self._found = tuple(walked(self._storage))
        except StorageUnavailable as exc:
            # Markers are listed all the same; and who may list only some prefixes has sessions, too.
            log.warning("sessions without markers not looked for", error=str(exc))


def walked(storage: Storage) -> Iterator[Session]:
    """Every session that has a directory. Raises StorageUnavailable."""
    left = _MOST_DIRECTORIES
    levels = [f"{HISTORY_PREFIX}{kind}/" for kind in KINDS]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sessions-without-marker") as pool:
        while levels and left > 0:
            asked, levels = levels[:left], levels[left:]
            left -= len(asked)
            for level, names in zip(asked, pool.map(storage.directories, asked), strict=True):
                if _holds_sessions(level):
                    yield from _sessions_in(level, names)
                else:
                    levels += [f"{level}{name}/" for name in names]
    if levels:
        log.warning("too many clusters to look at them all for sessions without markers: they are found by their names", left=len(levels))
    yield from (session for marker in storage.list(OLD_METADATA_PREFIX) if (session := session_of_old_marker(marker.key)))
    yield from old_sessions(storage, [name for name in storage.directories("") if name not in _NOT_SESSIONS])


def old_sessions(storage: Storage, directories: Iterable[str]) -> Iterator[Session]:
    """Those of KubeRay v1.6's layout in directories `{cluster}_{ns}`; others are passed over."""
    for directory in directories:
        if directory.count("_") == 1:
            found = (old_session(directory, name) for name in storage.directories(f"{directory}/"))
            yield from (session for session in found if session)


def _holds_sessions(level: str) -> bool:
    """Is it `raycluster/{ns}/{cluster}/`, or `rayjob/{ns}/{owner}/{cluster}/`?"""
    parts = level.removeprefix(HISTORY_PREFIX).split("/")[:-1]
    return len(parts) == (3 if parts[0] == "raycluster" else 4)


def _sessions_in(level: str, names: Iterable[str]) -> Iterator[Session]:
    kind, namespace, *owner, cluster = level.removeprefix(HISTORY_PREFIX).rstrip("/").split("/")
    for name in names:
        try:
            created_at(name)
            for of in (cluster, *owner):
                SessionRef.of(namespace, kind, of, name)
        except InvalidReference:
            continue
        owned = (SessionRef.of(namespace, kind, owner[0]).kind, owner[0]) if owner else (None, None)
        session = Session(namespace, cluster, name, *owned)
        yield replace(session, prefixes=(session_prefix(session),))
