"""The ports through which everything reads the object store, and through which the collector and `prune`, nothing else, write it.

Keys are relative to the storage root, `/`-separated, without a leading slash. Some stores read a key as a path: `check_key` keeps all of
them inside the root. Adapters: one module each beside this one.
Every method raises ObjectNotFound ("is not there") or StorageUnavailable ("could not look", "could not be written"), never an SDK's error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.errors import ObjectNotFound, StorageUnavailable


def is_key(key: str) -> bool:
    """Parts separated by single `/`, none of them `.` or `..`."""
    return "\0" not in key and not any(part in ("", ".", "..") for part in key.split("/"))


def is_prefix(prefix: str) -> bool:
    """Empty, or a key and a `/`. Raises ValueError where the `/` is missing: the caller would list its neighbours, too."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"prefix {prefix!r} must end in '/'")
    return not prefix or is_key(prefix[:-1])


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: its key and its size in bytes.

    `unreadable` is not empty for a directory that may not be listed: `key` ends in `/`, and nothing is known of what is below it.
    """

    key: str
    size: int
    unreadable: str = ""


class Storage(Protocol):
    """Read-only access to one bucket or directory. Thread-safe. Must be created after any fork."""

    def check(self) -> None:
        """Is the root there and readable? Raises StorageUnavailable with one clear line otherwise."""

    def prepare(self) -> None:
        """Make and connect clients, so that the first read need not. Raises StorageUnavailable; nothing depends on its success."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below `prefix` (which ends in `/` or is empty), recursively, in key order, paginated lazily.

        An absent prefix is an empty listing. Fails with StorageUnavailable if any page fails: never a short list. A directory below
        `prefix` that may not be listed is named (`ObjectInfo.unreadable`), and the others are listed.
        """

    def directories(self, prefix: str) -> Sequence[str]:
        """Names of the directories right below `prefix` (which ends in `/` or is empty), in order. It costs a page of a listing."""

    def size(self, key: str) -> int:
        """Bytes of one object."""

    def read(self, key: str) -> bytes:
        """A whole object."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from offset `start`; shorter, or empty, at the end of the object."""

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """An object (or `length` bytes of it from `start`) in chunks of bounded size. Errors surface on the first chunk or later."""

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, bytes | ObjectNotFound | StorageUnavailable]]:
        """Whole objects, read ahead concurrently within a bounded number of bytes, in the given order.

        A failed object is yielded as its error: the others go on.
        """

    def close(self) -> None:
        """Release connections."""


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
