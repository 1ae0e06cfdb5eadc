"""Event files as the collector cuts them: one series of files per node and folder, each file up to a size."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.recorded_events import SECOND


@dataclass(slots=True)
class Written:
    """How many files, and their bytes unpacked and on disk."""

    files: int = 0
    bytes: int = 0
    disk_bytes: int = 0

    def __iadd__(self, other: Written) -> Self:
        self.files += other.files
        self.bytes += other.bytes
        self.disk_bytes += other.disk_bytes
        return self


@dataclass(slots=True)
class _Open:
    path: Path
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class EventWriter:
    """Writes below one session's directory. `gz` packs each file, as newer collectors do."""

    def __init__(self, session: Path, file_bytes: int, *, gz: bool) -> None:
        self.written = Written()
        self._session = session
        self._file_bytes = file_bytes
        self._gz = gz
        self._open: dict[tuple[str, str], _Open] = {}
        self._named: set[Path] = set()

    def put(self, node: str, folder: str, when: int, line: bytes) -> None:
        """Add a line that ends in a newline; `when` (ns) names the file if it is its first."""
        at = node, folder
        file = self._open.get(at)
        if file is None:
            file = self._open[at] = _Open(self._name(node, folder, when))
        file.lines.append(line)
        file.size += len(line)
        if file.size >= self._file_bytes:
            self._close(self._open.pop(at))

    def close(self) -> Written:
        while self._open:
            self._close(self._open.pop(min(self._open)))
        return self.written

    def _name(self, node: str, folder: str, when: int) -> Path:
        hour = time.strftime("%Y-%m-%d-%H", time.gmtime(when // SECOND))
        while True:
            path = self._session / node / folder / f"{node}-{hour}-{when}.jsonl{'.gz' if self._gz else ''}"
            if path not in self._named:
                self._named.add(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                return path
            when += 1

    def _close(self, file: _Open) -> None:
        text = b"".join(file.lines)
        data = gzip.compress(text, 6, mtime=0) if self._gz else text
        file.path.write_bytes(data)
        self.written += Written(1, len(text), len(data))
