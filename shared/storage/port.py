"""The port through which everything reads the object store. Adapters: one module each beside this one.

Keys are relative to the storage root, `/`-separated, without a leading slash.
Every method raises ObjectNotFound ("is not there") or StorageUnavailable ("could not look"), never an SDK's error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ObjectNotFound, StorageUnavailable


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
