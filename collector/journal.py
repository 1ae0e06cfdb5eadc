"""Events on disk: whoever's `append` returned true finds its events in the bucket later, whatever happens to this process or machine.

One thread writes what has gathered and synchronises it once for all who wait (group commit). Segments are closed by size and age;
a closed one is final, and is deleted when everything in it has been uploaded.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.batches import Batch
from collector.files import sync_directory
from collector.recent_ids import RecentIds
from collector.segments import ids_in, record

log = structlog.get_logger()

_SUFFIX = ".events"
_FINISHED = ".uploaded"
# So much is kept of what is uploaded, for its ids: more than what can be under way when a process is killed.
_KEPT_BYTES, _KEPT_FILES = 32 << 20, 100


@dataclass(slots=True)
class _Waiting:
    """A record that is to be written (empty: all its events were known), and who is to be told whether it is durable."""

    record: bytes
    ids: list[str]
    done: Callable[[str], None]


class Full(Exception):
    """The buffer's bound is reached: nothing more is taken until something is uploaded."""


class Journal:
    """Thread-safe. `limit`: bytes of all segments at most."""

    def __init__(
        self, directory: Path, limit: int, segment_bytes: int, max_age: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises OSError when the directory cannot be used. Segments of an earlier process are closed ones."""
        self._directory = directory
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._max_age = max_age
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        self._closed = sorted(directory.glob("*" + _SUFFIX))
        self._finished = sorted(directory.glob("*" + _FINISHED))
        self._bytes = sum(path.stat().st_size for path in self._closed)
        # Held while a segment's file is written or closed; `_lock` may be taken within, never the other way round.
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._wanted = threading.Condition(self._lock)
        self._waiting: list[_Waiting] = []
        self._file: int | None = None
        self._path = directory
        self._size = 0
        self._opened_at = 0.0
        self._last_name = max((int(path.stem) for path in (*self._closed, *self._finished)), default=0)
        self._ended = False
        self._recent = RecentIds()
        for path in _newest([*self._finished, *self._closed], _KEPT_BYTES):
            self._recent.add(ids_in(path))
        self._thread = threading.Thread(target=self._commit_forever, name="journal", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self._bytes

    def append(self, batch: Batch, done: Callable[[str], None]) -> int:
        """Keep these events; returns how many of them were not known yet.

        `done` is called from another thread: with "" when they are durable, else with the reason why they are not. Raises Full.
        """
        with self._lock:
            if self._bytes >= self._limit:
                raise Full(f"the buffer holds {self._bytes >> 20} MiB that are not uploaded")
            if self._ended:
                raise Full("the collector ends")
            new = [at for at, event_id in enumerate(batch.ids) if event_id not in self._recent]
            if len(set(batch.ids)) < len(batch.ids):
                new = _first_of_each(batch.ids, new)
            if len(new) == len(batch.ids):
                places, lines, ids = batch.places, batch.lines, batch.ids
            else:
                places, lines, ids = ([values[at] for at in new] for values in (batch.places, batch.lines, batch.ids))  # type: ignore[assignment]
            self._recent.add(ids)
            self._waiting.append(_Waiting(record(places, lines) if lines else b"", ids, done))
            self._wanted.notify()
            return len(new)

    def close_segment(self, *, only_if_due: bool = False) -> None:
        """Make what was appended ready for `closed`; `only_if_due`: when it is old enough. Returns when that is done."""
        with self._writing, self._lock:
            if self._file is None or (only_if_due and self._clock() - self._opened_at < self._max_age):
                return
            self._close()

    def closed(self) -> list[Path]:
        """Final segments, the oldest first."""
        with self._lock:
            return list(self._closed)

    def finish(self, path: Path) -> None:
        """Everything in this closed segment is in the bucket. It is kept a while for its ids only."""
        with self._lock:
            finished = path.with_suffix(_FINISHED)
            path.rename(finished)
            self._finished.append(finished)
            for old in self._finished[: -len(_newest(self._finished[-_KEPT_FILES:], _KEPT_BYTES))]:
                old.unlink()
                self._finished.remove(old)
            sync_directory(self._directory)
            self._closed.remove(path)
            self._bytes -= finished.stat().st_size

    def end(self) -> None:
        """Write what waits and close the last segment; nothing is appended any more."""
        with self._lock:
            self._ended = True
            self._wanted.notify()
        self._thread.join()
        self.close_segment()

    def _commit_forever(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._ended:
                    self._wanted.wait()
                if not self._waiting:
                    return
                group, self._waiting = self._waiting, []
            reason = self._commit([waiting.record for waiting in group if waiting.record])
            if reason:
                with self._lock:
                    # Whoever came since may count on what has just failed.
                    group, self._waiting = group + self._waiting, []
                    for waiting in group:
                        self._recent.forget(waiting.ids)
            for waiting in group:
                waiting.done(reason)

    def _commit(self, records: list[bytes]) -> str:
        """The reason why they are not durable; empty when they are."""
        if not records:
            return ""
        with self._writing:
            try:
                self._write(b"".join(records))
            except OSError as exc:
                log.warning("events cannot be kept", error=str(exc), directory=str(self._directory))
                return f"cannot be written: {exc.strerror or exc}"
        return ""

    def _write(self, data: bytes) -> None:
        file = self._file if self._file is not None else self._open()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fdatasync(file)
        except OSError:
            # What was written of it must not be found later: it is refused, and will be sent again.
            os.ftruncate(file, self._size)
            os.lseek(file, self._size, os.SEEK_SET)
            raise
        with self._lock:
            self._size += len(data)
            self._bytes += len(data)
            if self._size >= self._segment_bytes:
                self._close()

    def _open(self) -> int:
        # Names are times, and the names of the objects are made of them: no two segments may have the same.
        self._last_name = max(time.time_ns(), self._last_name + 1)
        self._path = self._directory / f"{self._last_name:020}{_SUFFIX}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        sync_directory(self._directory)
        self._size, self._opened_at = 0, self._clock()
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._closed.append(self._path)


def _newest(segments: list[Path], bytes_enough: int) -> list[Path]:
    """The last segments that together hold enough, in order."""
    found: list[Path] = []
    for path in reversed(segments):
        found.insert(0, path)
        bytes_enough -= path.stat().st_size
        if bytes_enough <= 0:
            break
    return found


def _first_of_each(ids: list[str], new: list[int]) -> list[int]:
    """Without those whose id came before in the same batch."""
    seen: set[str] = set()
    return [at for at in new if not ids[at] or not (ids[at] in seen or seen.add(ids[at]))]  # type: ignore[func-returns-value]
