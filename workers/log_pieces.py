"""Small pieces of the few log files that answers other than `/api/v0/logs` need: read from the start or the end, never as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.port import ObjectInfo, Storage

# Keys below the session: what jobs printed and how they ended; what the GCS and the autoscaler said; of drivers' own logs the names.
WANTED = (
    "*/logs/job-driver-*.log",
    "*/logs/jobs/supervisor-*.log",
    "*/logs/gcs_server.out",
    "*/logs/monitor.log",
    "*/logs/python-core-driver-*.log",
)
_READERS = 16


def is_wanted(key_below_session: str) -> bool:
    return any(fnmatchcase(key_below_session, pattern) for pattern in WANTED)


class LogPieces:
    """Wanted log files of one session. What can't be read is told to `lose` (key, code, message) and left out."""

    def __init__(self, storage: Storage, prefix: str, files: Iterable[ObjectInfo], lose: Callable[[str, str, str], None]) -> None:
        self._storage = storage
        self._prefix = prefix
        self._sizes = {file.key.removeprefix(prefix): file.size for file in files}
        self._by_path: dict[str, list[str]] = {}
        for key in sorted(self._sizes):
            self._by_path.setdefault(key.partition("/logs/")[2], []).append(key)
        self._lose = lose

    def named(self, path: str) -> list[str]:
        """Keys below the session of the files that lie at `path` in any node's log directory."""
        return self._by_path.get(path, [])

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

    def _read(self, ranges: list[tuple[str, int, int]]) -> dict[str, str]:
        if not ranges:
            return {}
        with ThreadPoolExecutor(min(_READERS, len(ranges))) as readers:
            texts = list(readers.map(self._piece, ranges))
        return {key: text for (key, _, _), text in zip(ranges, texts, strict=True) if text is not None}

    def _piece(self, wanted: tuple[str, int, int]) -> str | None:
        key, start, length = wanted
        try:
            return self._storage.read_range(self._prefix + key, start, length).decode(errors="replace")
        except ObjectNotFound:
            return None  # it was listed, and is gone by now
        except StorageUnavailable as exc:
            self._lose(self._prefix + key, exc.code, str(exc))
            return None
