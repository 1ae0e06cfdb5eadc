"""Writing to S3, Google Cloud Storage and Azure Blob Storage, through obstore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage import obstore_runtime
from shared.storage.obstore_runtime import meaning_of
from shared.storage.port import CHECK_KEY, file_chunks, is_key
from shared.storage.retries import Attempts, Failure, Health, retried

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

T = TypeVar("T")

# S3 takes no smaller parts but the last one.
_PART = 5 << 20
_DELETERS = 16
_PATIENCE_OF_CHECK = 3


class ObjectStoreWriter:
    """`StorageWriter` over one bucket or container, below `root`. `meaning` explains what `opener` may raise, where that is not obstore."""

    def __init__(
        self,
        opener: Callable[[], S3Store | GCSStore | AzureStore],
        settings: StorageSettings,
        where: str,
        root: str = "",
        meaning: Callable[[Exception, str, str], Failure | None] = meaning_of,
    ) -> None:
        self._opener = opener
        self._settings = settings
        self._root = f"{root}/" if root else ""
        self._where = where + (f"/{root}" if root else "")
        self._meaning_of_opening = meaning
        self._health = Health()
        self._lock = threading.Lock()
        self._opened: S3Store | GCSStore | AzureStore | None = None

    def __repr__(self) -> str:
        return self._where

    def check(self) -> None:
        key = self._full(CHECK_KEY)
        self._call(lambda: self._store.put(key, b""), CHECK_KEY, _PATIENCE_OF_CHECK)
        self.delete([CHECK_KEY])

    def put(self, key: str, content: bytes) -> None:
        full = self._full(key)
        self._call(lambda: self._store.put(full, content, use_multipart=False), key)

    def put_file(self, key: str, path: Path, size: int) -> None:
        full = self._full(key)
        if size <= _PART:
            self.put(key, b"".join(file_chunks(path, size, _PART)))
            return
        unreadable: list[OSError] = []

        def chunks() -> Iterable[bytes]:
            try:
                yield from file_chunks(path, size, _PART)
            except OSError as exc:
                unreadable.append(exc)
                raise

        try:
            self._call(lambda: self._store.put(full, chunks(), chunk_size=_PART, max_concurrency=1), key)
        except StorageUnavailable:
            if unreadable:  # obstore passes on only the text of what its source raises
                raise unreadable[-1] from None
            raise

    def put_if_absent(self, key: str, content: bytes) -> bool:
        full = self._full(key)

        def put() -> bool:
            try:
                self._store.put(full, content, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        return self._call(put, key)

    def delete(self, keys: Iterable[str]) -> None:
        # Singly: of a batch that fails it is not known what is left, and not every store has batches.
        with ThreadPoolExecutor(min(_DELETERS, self._settings.storage_connections)) as pool:
            list(pool.map(self._delete, map(self._full, keys)))

    def _delete(self, full: str) -> None:
        def delete() -> None:
            try:
                self._store.delete(full)
            except (NotFoundError, FileNotFoundError):
                return

        self._call(delete, full)

    def close(self) -> None:
        with self._lock:
            self._opened = None

    def _full(self, key: str) -> str:
        if not is_key(key):
            raise ValueError(f"{key!r} is no key")
        return self._root + key

    def _call(self, work: Callable[[], T], key: str, attempts: int | None = None) -> T:
        patience = Attempts(self._health, self._settings.storage_timeout, *([attempts] if attempts else []))
        try:
            return retried(work, lambda exc: self._meaning(exc, key), patience)
        except ObjectNotFound as exc:  # nothing that is written can be missing but where it goes
            raise StorageUnavailable(f"storage {self!r}: there is no such bucket or container") from exc

    def _meaning(self, exc: Exception, key: str) -> Failure | None:
        if isinstance(exc, (ObjectNotFound, StorageUnavailable)):
            return Failure(exc)
        return meaning_of(exc, self._where, key) or self._meaning_of_opening(exc, self._where, key)

    @property
    def _store(self) -> S3Store | GCSStore | AzureStore:
        """Made at the first use, after any fork."""
        with self._lock:
            if not obstore_runtime.usable():
                raise StorageUnavailable(f"storage {self!r}: was used before this process was forked; open it after the fork")
            if self._opened is None:
                self._opened = self._opener()
            return self._opened
