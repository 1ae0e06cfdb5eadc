"""The port through which the object store is written: by the collector and by `prune`, and by nothing else.

Keys are those of the reading port. Methods raise StorageUnavailable ("could not be written"), never an SDK's error.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class StorageWriter(Protocol):
    """Write access to one bucket or directory. Thread-safe. Must be created after any fork.

    An object appears whole or not at all, and may be put again: the last one put is the one that is read.
    """

    def check(self) -> None:
        """Can an object be written below the root? Writes one and deletes it. Raises StorageUnavailable with one clear line."""

    def put(self, key: str, content: bytes) -> None:
        """Write one object."""

    def put_file(self, key: str, path: Path, size: int) -> None:
        """Write the first `size` bytes of a file, which may be growing, in bounded memory. Raises OSError when it cannot be read."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write one object unless there is one of that key; False when there is."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are not there count as deleted."""

    def close(self) -> None:
        """Release connections."""


CHECK_KEY = "cluster-metadata/write-check"
"""What `check` writes: no marker, as a marker lies two levels deeper."""


def file_chunks(path: Path, size: int, chunk: int) -> Iterable[bytes]:
    """The first `size` bytes of a file. Raises OSError, also when the file is shorter by now: Ray has rotated it."""
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(chunk, left))
            if not data:
                raise OSError(f"{path} has become shorter")
            left -= len(data)
            yield data
