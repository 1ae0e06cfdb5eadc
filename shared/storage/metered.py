"""Any storage, with its calls counted and timed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.metrics import STORAGE_BYTES, STORAGE_SECONDS, timed
from shared.storage.port import ObjectInfo, Storage

T = TypeVar("T")


class MeteredStorage:
    """`Storage` that passes everything on."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __repr__(self) -> str:
        return repr(self._storage)

    def check(self) -> None:
        with timed(STORAGE_SECONDS, "check"):
            self._storage.check()

    def prepare(self) -> None:
        self._storage.prepare()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return _measured("list", self._storage.list(prefix))

    def directories(self, prefix: str) -> Sequence[str]:
        with timed(STORAGE_SECONDS, "directories"):
            return self._storage.directories(prefix)

    def size(self, key: str) -> int:
        with timed(STORAGE_SECONDS, "size"):
            return self._storage.size(key)

    def read(self, key: str) -> bytes:
        with timed(STORAGE_SECONDS, "read"):
            data = self._storage.read(key)
        STORAGE_BYTES.inc(len(data))
        return data

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with timed(STORAGE_SECONDS, "read_range"):
            data = self._storage.read_range(key, start, length)
        STORAGE_BYTES.inc(len(data))
        return data

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        for chunk in _measured("stream", self._storage.stream(key, start, length)):
            STORAGE_BYTES.inc(len(chunk))
            yield chunk

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, bytes | ObjectNotFound | StorageUnavailable]]:
        results = self._storage.read_many(objects)
        while True:
            began = time.perf_counter()
            found = next(results, None)
            if found is None:
                return
            data = found[1]
            result = "ok" if isinstance(data, bytes) else "absent" if isinstance(data, ObjectNotFound) else "failed"
            STORAGE_SECONDS.labels("read_many", result).observe(time.perf_counter() - began)
            if isinstance(data, bytes):
                STORAGE_BYTES.inc(len(data))
            yield found

    def close(self) -> None:
        self._storage.close()


def _measured(operation: str, items: Iterator[T]) -> Iterator[T]:
    """Only the time in which the store was waited for counts, not what the caller does with an item."""
    waited, result = 0.0, "failed"
    try:
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                break
            finally:
                waited += time.perf_counter() - began
            yield item
        result = "ok"
    except ObjectNotFound:
        result = "absent"
        raise
    except GeneratorExit:
        result = "ok"
        raise
    finally:
        STORAGE_SECONDS.labels(operation, result).observe(waited)
