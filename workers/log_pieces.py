"""Pieces of the few log files that answers other than `/api/v0/logs` need: from the start, from the end, or lines that hold a marker.

What one load reads of them is bounded, whatever the logs weigh. Small files that every load looks into are asked for with everything
else that it reads, once and whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.port import ObjectInfo, Storage
from shared.storage.read_ahead import Answer

# Below a node's `logs/`: what jobs printed and how they ended; what the GCS, the raylets and the autoscaler said, their rotated files
# included; what workers and drivers said of their own ends; the names of workers' files.
_WANTED = re.compile(
    r"job-driver-.*\.log|jobs/supervisor-.*\.log|(?:gcs_server|raylet)(?:\.\d+)?\.out(?:\.\d+)?|monitor\.log"
    r"|(?:old/)?python-core-(?:driver|worker)-.*\.log|(?:old/)?worker-.*\.out",
    re.DOTALL,
)
# `name.out.1` as Python's logging numbers them, `name.1.out` as Ray's C++ (spdlog) does: the higher the older.
_ROTATED = re.compile(r"(.+?)(?:\.(\d+))?(\.\w+)(?:\.(\d+))?")
# What every load looks into, and up to which size it is read whole, beforehand; at most so many files and bytes.
_READ_AHEAD = (
    (re.compile(r"gcs_server\.out|monitor\.log"), 512 << 10),
    (re.compile(r"job-driver-.*\.log|(?:old/)?python-core-driver-.*\.log", re.DOTALL), 128 << 10),
)
_FILES_AHEAD, _BYTES_AHEAD = 200, 16 << 20
_READERS = 16
# Of one file, its end, for lines with a marker; and of all files together.
_SEARCHED_BYTES = 64 << 20
_SEARCHED_IN_ALL = 512 << 20
_LONGEST_LINE = 1 << 20
# Of a file, more than this comes in chunks.
_READ_AT_ONCE = 1 << 20


def is_wanted(key_below_session: str) -> bool:
    _, found, path = key_below_session.partition("/logs/")
    return bool(found and _WANTED.fullmatch(path))


def files_ahead(files: Mapping[str, ObjectInfo]) -> list[ObjectInfo]:
    """Those of the wanted files, by their keys below the session, that are best read whole with everything else."""
    found: list[ObjectInfo] = []
    left = _BYTES_AHEAD
    for key, file in files.items():
        path = key.partition("/logs/")[2]
        most = next((size for name, size in _READ_AHEAD if name.fullmatch(path)), 0)
        if 0 < file.size <= min(most, left) and len(found) < _FILES_AHEAD:
            found.append(file)
            left -= file.size
    return found


class LogPieces:
    """Wanted log files of one session, by their keys below it. What can't be read is told to `lose` (key, code, message) and left out.

    `read`: what was read of them beforehand, whole, by their keys in the store.
    """

    def __init__(
        self,
        storage: Storage,
        files: Mapping[str, ObjectInfo],
        lose: Callable[[str, str, str], None],
        read: Mapping[str, Answer] = MappingProxyType({}),
    ) -> None:
        self._storage = storage
        self._files = files
        self._read_ahead = read
        self._sizes = {below: file.size for below, file in files.items()}
        self._by_path: dict[str, list[str]] = {}
        for key in sorted(self._sizes):
            self._by_path.setdefault(key.partition("/logs/")[2], []).append(key)
        self._lose = lose
        self._left = _SEARCHED_IN_ALL

    def named(self, path: str) -> list[str]:
        """Keys below the session of the files that lie at `path` in any node's log directory."""
        return self._by_path.get(path, [])

    def rotated(self, path: str) -> list[str]:
        """Keys of the files at `path` and of those it was rotated to; of each node the oldest first."""
        found = []
        for known, keys in self._by_path.items():
            match = _ROTATED.fullmatch(known)
            if match and match[1] + match[3] == path:
                found += [(key.partition("/")[0], -int(match[2] or match[4] or 0), key) for key in keys]
        return [key for _, _, key in sorted(found)]

    @property
    def keys(self) -> list[str]:
        """All of them, below the session, in order."""
        return sorted(self._sizes)

    def heads(self, keys: Sequence[str], size: int) -> dict[str, str]:
        """The first `size` bytes of each file, as text."""
        return self._read([(key, 0, size) for key in keys])

    def tails(self, keys: Sequence[str], size: int) -> dict[str, str]:
        """The last `size` bytes of each file, as text."""
        return self._read([(key, max(0, self._sizes[key] - size), size) for key in keys])

    def both_ends(self, keys: Sequence[str], size: int) -> dict[str, str]:
        """The first and the last `size` bytes of each file, as one text; small files whole."""
        whole = [key for key in keys if self._sizes[key] <= 2 * size]
        longer = [key for key in keys if self._sizes[key] > 2 * size]
        texts = self.heads(whole, 2 * size)
        starts, ends = self.heads(longer, size), self.tails(longer, size)
        return texts | {key: f"{starts[key]}\n{ends[key]}" for key in longer if key in starts and key in ends}

    def lines(self, key: str, marker: re.Pattern[bytes]) -> Iterator[str]:
        """The lines of a file in which `marker` is found; of a large file those at its end."""
        size = min(self._sizes[key], _SEARCHED_BYTES, self._left)
        self._left -= size
        rest = b""
        try:
            for chunk in self._chunks(key, self._sizes[key] - size, size):
                complete, newline, rest = (rest[-_LONGEST_LINE:] + chunk).rpartition(b"\n")
                if newline:
                    yield from _lines_with(marker, complete)
            yield from _lines_with(marker, rest)
        except ObjectNotFound:
            return  # it was listed, and is gone by now
        except StorageUnavailable as exc:
            self._lose(self._files[key].key, exc.code, str(exc))

    def _read(self, ranges: list[tuple[str, int, int]]) -> dict[str, str]:
        if not ranges:
            return {}
        if all(self._is_here(key) for key, _, _ in ranges):
            texts = list(map(self._piece, ranges))
        else:
            with ThreadPoolExecutor(min(_READERS, len(ranges))) as readers:
                texts = list(readers.map(self._piece, ranges))
        return {key: text for (key, _, _), text in zip(ranges, texts, strict=True) if text is not None}

    def _piece(self, wanted: tuple[str, int, int]) -> str | None:
        key, start, length = wanted
        try:
            return b"".join(self._chunks(key, start, length)).decode(errors="replace")
        except ObjectNotFound:
            return None  # it was listed, and is gone by now
        except StorageUnavailable as exc:
            self._lose(self._files[key].key, exc.code, str(exc))
            return None

    def _is_here(self, key: str) -> bool:
        """Nothing needs to be asked for: it was read before, or is empty."""
        return not self._sizes[key] or self._files[key].key in self._read_ahead

    def _chunks(self, key: str, start: int, length: int) -> Iterable[bytes]:
        """Raises ObjectNotFound, StorageUnavailable."""
        if not self._sizes[key]:
            return ()
        file = self._files[key].key
        known = self._read_ahead.get(file)
        if isinstance(known, bytes):
            return (known[start : start + length],)
        if known is not None:
            raise known
        if length > _READ_AT_ONCE:
            return self._storage.stream(file, start, length)
        return (self._storage.read_range(file, start, length),)


def _lines_with(marker: re.Pattern[bytes], text: bytes) -> Iterator[str]:
    end = -1
    for found in marker.finditer(text):
        if found.start() > end:
            start, end = text.rfind(b"\n", 0, found.start()) + 1, text.find(b"\n", found.end())
            end = len(text) if end < 0 else end
            yield text[start:end].decode(errors="replace")
