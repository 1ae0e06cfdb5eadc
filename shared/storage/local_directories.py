"""Reading many files of few directories: each directory is looked up once and then held open, which also pins what was looked up."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from cachetools import LRUCache

from shared.storage.port import is_key

_HELD_OPEN = 64


class Directories:
    """Of one root; for one call that reads many files, from several threads.

    `inside` gives the real path of a directory by its key, None when it is absent or leads out of the root.
    """

    def __init__(self, inside: Callable[[str], Path | None]) -> None:
        self._inside = inside
        self._known: LRUCache[str, _Directory] = LRUCache(_HELD_OPEN)
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes | None:
        """A file's content; None for everything that is not plainly a file in a directory: that needs a closer look."""
        parent, _, name = key.rpartition("/")
        if not parent or not is_key(key):
            return None
        try:
            with self._lock:
                directory = self._known.get(parent)
                if directory is None:
                    path = self._inside(parent)
                    if path is None:
                        return None
                    directory = self._known[parent] = _Directory(path)
            return directory.read(name)
        except OSError:
            return None


class _Directory:
    """Closed when nobody uses it any more: a thread may outlast the call that it reads for."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        # A link is refused, and a pipe must not block.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                return None
            content = os.read(file, found.st_size + 1)
            if len(content) == found.st_size:
                return content
            # Longer than one call reads, or growing.
            pieces = [content]
            while piece := os.read(file, 1 << 20):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(file)
