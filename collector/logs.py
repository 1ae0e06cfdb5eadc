"""The log files of one session on this node, uploaded from where Ray writes them: nothing of them takes room in the buffer.

A log is uploaded when it has been quiet for a moment, when it has doubled since, and at the end; always whole, so that readers find one
object of its name, as KubeRay's do. What Ray deletes before it was uploaded is recorded as lost.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from collector.files import read_or_none, replace
from shared.storage.port import StorageWriter

log = structlog.get_logger()

_QUIET = 30.0
_WORTH_IT = 1 << 20
_LARGE = 8 << 20
_TAIL = 1 << 20
_TAIL_SUFFIX = ".tail"


class _Sent(msgspec.Struct, array_like=True):
    """Of one file: how much of it was uploaded, its inode, and when."""

    size: int
    inode: int
    at: float
    seen: int = 0


@dataclass(frozen=True, slots=True)
class _Log:
    name: str
    path: Path
    size: int
    inode: int
    modified: float


_decode = msgspec.json.Decoder(dict[str, _Sent]).decode


class SessionLogs:
    """`key` makes a storage key of a name below `logs/`; `lose` is told (name, code, message). One thread at a time."""

    def __init__(
        self, directory: Path, state: Path, key: Callable[[str], str], lose: Callable[[str, str, str], None], interval: float
    ) -> None:
        self._directory = directory
        self._state = state
        self._key = key
        self._lose = lose
        self._interval = interval
        self._sent: dict[str, _Sent] = _decode(read_or_none(state) or b"{}")

    def ship(self, writer: StorageWriter, stopping: Callable[[], bool]) -> None:
        """Upload what is due now. Raises StorageUnavailable."""
        logs = list(self._found())
        self._notice_gone(logs)
        now = time.time()
        for found in sorted(logs, key=_value):
            if stopping():
                break
            if self._is_due(found, now):
                self._send(writer, found)
        self._save()

    def ship_all(self, writer: StorageWriter, stopping: Callable[[], bool]) -> bool:
        """At the end: whatever is not uploaded yet, small and telling ones first; of large ones the tails before the whole.

        False when it was stopped before all was done. Raises StorageUnavailable.
        """
        logs = list(self._found())
        self._notice_gone(logs)
        changed = [found for found in sorted(logs, key=_value) if self._changed(found)]
        large = [found for found in changed if found.size > _LARGE]
        steps: list[Callable[[], None]] = [lambda found=found: self._send(writer, found) for found in changed if found.size <= _LARGE]  # type: ignore[misc]
        steps += [lambda found=found: self._send_tail(writer, found) for found in large]  # type: ignore[misc]
        steps += [lambda found=found: self._send(writer, found, tail=True) for found in large]  # type: ignore[misc]
        try:
            for step in steps:
                if stopping():
                    return False
                step()
        finally:
            self._save()
        return True

    def _found(self) -> Iterator[_Log]:
        """Regular files, not what links lead to (KubeRay's collector skips those, too)."""
        for directory, _, names in os.walk(self._directory):
            for name in names:
                path = Path(directory, name)
                try:
                    info = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(info.st_mode):
                    yield _Log(path.relative_to(self._directory).as_posix(), path, info.st_size, info.st_ino, info.st_mtime)

    def _changed(self, found: _Log) -> bool:
        sent = self._sent.get(found.name)
        # An empty file counts, too: what has never been sent is listed nowhere.
        return sent is None or not sent.at or sent.size != found.size or sent.inode != found.inode

    def _is_due(self, found: _Log, now: float) -> bool:
        if not self._changed(found):
            return False
        sent = self._sent.get(found.name)
        quiet = now - found.modified >= _QUIET
        if sent is None or sent.inode != found.inode or not sent.at:
            self._sent[found.name] = _Sent(0, found.inode, 0.0, found.size)
            return quiet or found.size >= _WORTH_IT
        sent.seen = found.size
        return now - sent.at >= self._interval and (quiet or found.size >= 2 * sent.size)

    def _send(self, writer: StorageWriter, found: _Log, *, tail: bool = False) -> None:
        try:
            writer.put_file(self._key(found.name), found.path, found.size)
        except OSError as exc:  # rotated or deleted since it was found: the next look tells
            log.info("log not uploaded", name=found.name, error=str(exc))
            return
        self._sent[found.name] = _Sent(found.size, found.inode, time.time(), found.size)
        if tail:
            writer.delete([self._key(found.name + _TAIL_SUFFIX)])

    def _send_tail(self, writer: StorageWriter, found: _Log) -> None:
        try:
            with found.path.open("rb") as file:
                file.seek(-_TAIL, os.SEEK_END)
                writer.put(self._key(found.name + _TAIL_SUFFIX), file.read(_TAIL))
        except OSError as exc:
            log.info("log not uploaded", name=found.name, error=str(exc))

    def _notice_gone(self, logs: list[_Log]) -> None:
        """By inode: Ray rotates logs by renaming them."""
        there = {found.inode: found.name for found in logs}
        for name, sent in list(self._sent.items()):
            now = there.get(sent.inode)
            if now == name:
                continue
            del self._sent[name]
            if now is not None:
                self._sent.setdefault(now, _Sent(0, sent.inode, 0.0, sent.seen))
            elif sent.seen > sent.size:
                self._lose(name, "log_gone", f"deleted before its last {sent.seen - sent.size} bytes were uploaded")

    def _save(self) -> None:
        replace(self._state, msgspec.json.encode(self._sent))


def _value(found: _Log) -> tuple[int, float]:
    """What tells most comes first: what jobs said, what Ray's events said, what workers said, the newest of each first."""
    name = found.name
    if name.startswith(("job-driver-", "events/")):
        rank = 0
    elif name.startswith("worker-"):
        rank = 1
    elif name.startswith(("gcs_server", "raylet", "monitor", "jobs/", "dashboard.")):
        rank = 2
    else:
        rank = 3
    return rank, -found.modified
