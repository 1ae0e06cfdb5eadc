"""Events on disk: whoever is told that its events are durable finds them in the bucket later, whatever happens to this process or machine.

Whoever comes first writes what has gathered meanwhile, and synchronises it once for all who wait (group commit). Segments are closed
by size and age; a closed one is final, and is deleted when everything in it has been uploaded.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.batches import Batch, Group
from collector.files import sync_directory, sync_file
from collector.recent_ids import RecentIds
from collector.segments import ids_in, record

log = structlog.get_logger()

_SUFFIX = ".events"
_FINISHED = ".uploaded"
# So much is kept of what is uploaded, for its ids: more than what can be under way when a process is killed.
_KEPT_BYTES, _KEPT_FILES = 4 << 20, 100


@dataclass(slots=True)
class _Waiting:
    """Events that are to be written (none: all of them were known)."""

    groups: list[Group]
    ids: set[str]
    problem: str | None = None
    """None until it is known; empty when they are durable."""


class Full(Exception):
    """The buffer's bound is reached: nothing more is taken until something is uploaded."""


class NotDurable(Exception):
    """Events could not be written: they are not kept."""


class Journal:
    """Thread-safe. `limit`: bytes of all segments at most. A segment is closed at `segment_bytes` of events, unpacked.

    `deleted` is told the bytes of events that someone has deleted from the disk.
    """

    def __init__(
        self,
        directory: Path,
        limit: int,
        segment_bytes: int,
        max_age: float,
        deleted: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OSError when the directory cannot be used. Segments of an earlier process are closed ones."""
        self._directory = directory
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._max_age = max_age
        self._deleted = deleted
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        sync_directory(directory.parent)
        self._closed = {path: path.stat().st_size for path in sorted(directory.glob("*" + _SUFFIX))}
        self._finished = sorted(directory.glob("*" + _FINISHED))
        for path in self._closed:
            # Its process may have been killed before it could: what is known is acknowledged when it comes again.
            sync_file(path)
        self._bytes = sum(self._closed.values())
        # Held while a segment's file is written or closed; `_lock` may be taken within, never the other way round.
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._file: int | None = None
        self._path = directory
        self._size = self._unpacked = 0
        self._torn = False
        self._opened_at = 0.0
        self._last_name = max((int(path.stem) for path in (*self._closed, *self._finished)), default=0)
        self._ended = False
        self._recent = RecentIds()
        for path in _newest([*self._finished, *self._closed], _KEPT_BYTES):
            self._recent.add(ids_in(path))

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self._bytes

    def append(self, batch: Batch) -> int:
        """Keep these events: they are durable when it returns. How many of them were not known yet. Raises Full, NotDurable."""
        with self._lock:
            if self._bytes >= self._limit:
                raise Full(f"the buffer holds {self._bytes >> 20} MiB that are not uploaded")
            if self._ended:
                raise Full("the collector ends")
            groups, ids = self._not_known(batch.groups)
            self._recent.add(ids)
            waiting = _Waiting(groups, ids)
            self._waiting.append(waiting)
        with self._writing:
            if waiting.problem is None:
                self._commit()
        if waiting.problem:
            raise NotDurable(waiting.problem)
        return sum(len(group.ids) for group in groups)

    def _not_known(self, groups: list[Group]) -> tuple[list[Group], set[str]]:
        """Without events that came before, or twice in these groups; and the ids of the others."""
        ids = set[str]().union(*(group.ids for group in groups))
        if len(ids) == sum(len(group.ids) for group in groups) and self._recent.know_none_of(ids):
            return groups, ids
        seen: set[str] = set()
        new = []
        for place, ids_here, text in groups:
            kept, lines = [], []
            for event_id, line in zip(ids_here, text.split(b"\n"), strict=False):
                if event_id and (event_id in seen or event_id in self._recent):
                    continue
                seen.add(event_id)
                kept.append(event_id)
                lines.append(line)
            if kept:
                new.append(Group(place, kept, b"\n".join([*lines, b""])))
        return new, seen

    def close_segment(self, *, only_if_due: bool = False) -> None:
        """Make what was appended ready for `closed`; `only_if_due`: when it is old enough. Returns when that is done. Raises OSError."""
        with self._writing:
            if self._file is None or (only_if_due and self._clock() - self._opened_at < self._max_age):
                return
            self._mend(self._file)
            with self._lock:
                self._close()

    def closed(self) -> list[Path]:
        """Final segments, the oldest first."""
        with self._lock:
            return list(self._closed)

    def finish(self, path: Path) -> None:
        """Everything in this closed segment is in the bucket. It is kept a while, for its ids only. Raises OSError."""
        with self._lock:
            finished = path.with_suffix(_FINISHED)
            path.rename(finished)
            self._bytes -= self._closed.pop(path)
            self._finished.append(finished)
            kept = _newest(self._finished[-_KEPT_FILES:], _KEPT_BYTES)
            old, self._finished = self._finished[: -len(kept)], kept
        for segment in old:
            segment.unlink(missing_ok=True)
        sync_directory(self._directory)

    def give_up(self, path: Path) -> None:
        """Someone has deleted this closed segment. Raises what `deleted` raises: it is still a closed one."""
        self._deleted(self._closed[path])
        with self._lock:
            self._bytes -= self._closed.pop(path)

    def end(self) -> None:
        """Write what waits and close the last segment; nothing is appended any more. Raises OSError."""
        with self._lock:
            self._ended = True
        with self._writing:
            self._commit()
        self.close_segment()

    def _commit(self) -> None:
        """Write whatever waits. `_writing` is held."""
        with self._lock:
            together, self._waiting = self._waiting, []
        problem = "the write broke off"
        try:
            problem = self._written([waiting.groups for waiting in together if waiting.groups])
        finally:
            if problem:
                with self._lock:
                    # Whoever came since may count on what has just failed.
                    together, self._waiting = together + self._waiting, []
                    for waiting in together:
                        self._recent.forget(waiting.ids)
            for waiting in together:
                waiting.problem = problem

    def _written(self, batches: list[list[Group]]) -> str:
        """The reason why they are not durable; empty when they are."""
        if not batches:
            return ""
        try:
            self._write(b"".join([record(groups) for groups in batches]), sum(len(group.text) for groups in batches for group in groups))
        except OSError as exc:
            log.warning("events cannot be kept", error=str(exc), directory=str(self._directory))
            return f"cannot be written: {exc.strerror or exc}"
        except Exception as exc:
            # Others wait for an answer, too.
            log.exception("unexpected fault while events were written")
            return f"cannot be written: {exc!r}"
        return ""

    def _write(self, data: bytes, unpacked: int) -> None:
        file = self._file if self._file is not None else self._open()
        self._mend(file)
        self._torn = True
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fdatasync(file)
        except OSError:
            self._mend(file)
            raise
        self._torn = False
        if not os.fstat(file).st_nlink:
            self._abandon()
            raise OSError(errno.ENOENT, "the directory was deleted")
        with self._lock:
            self._size += len(data)
            self._bytes += len(data)
            self._unpacked += unpacked
            if self._unpacked >= self._segment_bytes:
                self._close()

    def _mend(self, file: int) -> None:
        """What a failed write has left must not be found later: it is refused, and will be sent again. Raises OSError."""
        if self._torn:
            os.ftruncate(file, self._size)
            self._torn = False

    def _abandon(self) -> None:
        """Someone has deleted the open segment; what it held is lost, but not silently."""
        with self._lock:
            lost, self._size = self._size, 0
            self._bytes -= lost
            self._release()
        if lost:
            self._deleted(lost)

    def _open(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        # Names are times, and the names of the objects are made of them: no two segments may have the same.
        self._last_name = max(time.time_ns(), self._last_name + 1)
        path = self._directory / f"{self._last_name:020}{_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            sync_directory(self._directory)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._path, self._file, self._torn, self._opened_at = path, file, False, self._clock()
        self._size = self._unpacked = 0
        return file

    def _close(self) -> None:
        self._closed[self._path] = self._size
        self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # everything in it is synchronised
                os.close(file)


def _newest(segments: list[Path], bytes_enough: int) -> list[Path]:
    """The last segments that together hold enough, in order."""
    found: list[Path] = []
    for path in reversed(segments):
        found.insert(0, path)
        with suppress(FileNotFoundError):
            bytes_enough -= path.stat().st_size
        if bytes_enough <= 0:
            break
    return found
