"""Small objects that wait for their upload in files: dashboard answers and reports. Of one key only the newest content is sent."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from pathlib import Path

from collector.files import read_or_none, replace
from shared.layout import METADATA_PREFIX
from shared.storage.port import StorageWriter


class Outbox:
    """Thread-safe. Keys are those of the storage."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        # Looked for on the disk only once: it is asked twice a second. What a former process left is among them.
        found = directory.rglob("*") if directory.is_dir() else []
        self._waiting = {path.relative_to(directory).as_posix() for path in found if path.is_file() and path.suffix != ".new"}
        # Of what was put last: answers of the dashboard may be large.
        self._last: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> None:
        """Have this object uploaded, unless the last one of the key was the same. Raises OSError."""
        digest = hashlib.blake2b(content).digest()
        with self._lock:
            if self._last.get(key) == digest:
                return
            self._waiting.add(key)
            replace(self._directory / key, content)
            self._last[key] = digest

    def waiting(self) -> list[str]:
        """Keys; markers come first, as nothing else of a session is found without them."""
        with self._lock:
            # Files that someone has deleted wait no more.
            self._waiting = {key for key in self._waiting if (self._directory / key).is_file()}
            return sorted(self._waiting, key=lambda key: (not key.startswith(METADATA_PREFIX), key))

    def send(self, writer: StorageWriter) -> None:
        """Upload what waits. Raises StorageUnavailable at the first one that fails; the rest goes on waiting."""
        for key in self.waiting():
            path = self._directory / key
            content = read_or_none(path)
            if content is None:  # dropped since
                continue
            writer.put(key, content)
            with self._lock:
                if read_or_none(path) == content:
                    self._waiting.discard(key)
                    path.unlink()
                    with contextlib.suppress(OSError):  # others wait beside it
                        path.parent.rmdir()

    def drop(self, key: str) -> None:
        """It is not to be uploaded any more."""
        with self._lock:
            (self._directory / key).unlink(missing_ok=True)
            self._waiting.discard(key)
            self._last.pop(key, None)

    def forget(self, prefix: str) -> None:
        """Nothing of these keys will be put again: an ended session's."""
        with self._lock:
            self._last = {key: digest for key, digest in self._last.items() if not key.startswith(prefix)}
