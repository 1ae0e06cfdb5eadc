"""Google Cloud Storage and Azure Blob Storage, through obstore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore

from shared.errors import ObjectNotFound, SettingsError, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage import obstore_runtime
from shared.storage.cloud_stores import azure_store, gcs_store
from shared.storage.object_store_writer import ObjectStoreWriter
from shared.storage.obstore_runtime import meaning_of, status_of
from shared.storage.port import ObjectInfo, is_key, is_prefix
from shared.storage.read_ahead import Answer, read_ahead
from shared.storage.retries import Attempts, Failure, Health, retried, same_version

if TYPE_CHECKING:
    from obstore import GetOptions

T = TypeVar("T")

_CHUNK = 256 << 10
_PAGE = 1000
_SMALL = 8 << 20
_PATIENCE_OF_CHECK = 3


def open_object_store(settings: StorageSettings, scheme: str, bucket: str, root: str) -> ObjectStoreStorage:
    """`scheme` is gs or az. Raises SettingsError where the settings make no client."""
    return ObjectStoreStorage(_opener(settings, scheme, bucket), settings, f"{scheme}://{bucket}", root, ordered=scheme == "gs")


def open_object_store_writer(settings: StorageSettings, scheme: str, bucket: str, root: str) -> ObjectStoreWriter:
    """The same for the write side."""
    return ObjectStoreWriter(_opener(settings, scheme, bucket), settings, f"{scheme}://{bucket}", root)


def _opener(settings: StorageSettings, scheme: str, bucket: str) -> Callable[[], GCSStore | AzureStore]:
    made = gcs_store if scheme == "gs" else azure_store
    try:
        made(settings, bucket)
    except (BaseError, ValueError) as exc:
        raise SettingsError(f"storage {scheme}://{bucket}: {str(exc).partition(chr(10))[0]}") from None
    return lambda: made(settings, bucket)


class ObjectStoreStorage:
    """`Storage` over one bucket or container, below `root`. `ordered`: the store lists in key order."""

    def __init__(
        self,
        opener: Callable[[], GCSStore | AzureStore],
        settings: StorageSettings,
        where: str,
        root: str = "",
        *,
        ordered: bool = True,
    ) -> None:
        self._opener = opener
        self._settings = settings
        self._root = f"{root}/" if root else ""
        self._where = where + (f"/{root}" if root else "")
        self._ordered = ordered
        self._health = Health()
        self._lock = threading.Lock()
        self._opened: GCSStore | AzureStore | None = None

    def __repr__(self) -> str:
        return self._where

    def check(self) -> None:
        try:
            self._call(self._look, attempts=_PATIENCE_OF_CHECK)
        except ObjectNotFound as exc:
            raise StorageUnavailable(f"storage {self!r}: there is no such bucket or container") from exc

    def prepare(self) -> None:
        """The first listing connects; only credentials are found now."""
        self._call(lambda: self._store, attempts=1)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = self._without_placeholders(prefix)
        # Accounts with a hierarchical namespace list directories before their siblings.
        return found if self._ordered else iter(sorted(found, key=lambda info: info.key.encode()))

    def directories(self, prefix: str) -> Sequence[str]:
        if not is_prefix(prefix):
            return []
        found = self._call(lambda: self._store.list_with_delimiter((self._root + prefix).rstrip("/") or None), prefix)
        return sorted((path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]), key=str.encode)

    def _without_placeholders(self, prefix: str) -> Iterator[ObjectInfo]:
        """KubeRay's collector writes an empty `dir/` before a directory's files; obstore shows it as `dir`."""
        held: ObjectInfo | None = None
        for info in self._pages(prefix):
            if held and (held.size or not info.key.startswith(held.key + "/")):
                yield held
            held = info
        if held:
            yield held

    def _pages(self, prefix: str) -> Iterator[ObjectInfo]:
        if not is_prefix(prefix):
            return
        attempts = Attempts(self._health, self._settings.storage_timeout)
        last: str | None = None
        while True:
            try:
                for page in self._store.list(prefix=(self._root + prefix).rstrip("/") or None, offset=last, chunk_size=_PAGE):
                    for item in page:
                        yield ObjectInfo(item["path"].removeprefix(self._root), item["size"])
                        last = item["path"]
                    attempts.progressed()
            except Exception as exc:
                failure = self._meaning(exc, prefix)
                if failure is None:
                    raise
                if isinstance(failure.error, ObjectNotFound):
                    raise StorageUnavailable(f"storage {self!r}: there is no such bucket or container") from exc
                attempts.failed(failure, exc)
            else:
                return

    def size(self, key: str) -> int:
        return self._of_object(key, lambda: int(self._store.head(self._full(key))["size"]))

    def read(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            self.size(key)
            return b""
        return b"".join(self.stream(key, start, length))

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A broken answer is taken up where it broke, of the same version of the object."""
        attempts = Attempts(self._health, self._settings.storage_timeout)
        end = None if length is None else start + length
        etag = ""
        while end is None or start < end:
            try:
                result = self._store.get(self._full(key), options=_options(start, end, etag))
                etag = same_version(key, self._where, etag, result.meta["e_tag"])
                for chunk in result.stream(min_chunk_size=_CHUNK):
                    yield bytes(chunk)
                    start += len(chunk)
                    attempts.progressed()
            except Exception as exc:
                failure = self._meaning(exc, key)
                if failure is None:
                    raise
                if isinstance(failure.error, ObjectNotFound):
                    self._confirm_bucket()
                elif _beyond_end(exc):
                    return
                attempts.failed(failure, exc)
            else:
                return

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Answer]]:
        settings = self._settings
        return read_ahead(objects, self._read_fast, threads=settings.storage_connections, budget=settings.storage_read_ahead)

    def _read_fast(self, info: ObjectInfo) -> bytes:
        if info.size > _SMALL:
            return self.read(info.key)
        return self._of_object(info.key, lambda: bytes(self._store.get(self._full(info.key)).bytes()))

    def close(self) -> None:
        with self._lock:
            self._opened = None

    def _of_object(self, key: str, work: Callable[[], T]) -> T:
        try:
            return self._call(work, key)
        except ObjectNotFound:
            self._confirm_bucket()
            raise

    def _confirm_bucket(self) -> None:
        """A missing bucket answers 404 too. Raises StorageUnavailable for it."""
        self.check()

    def _look(self) -> None:
        next(iter(self._store.list(prefix=self._root.rstrip("/") or None, chunk_size=1)), None)

    def _full(self, key: str) -> str:
        if not is_key(key):
            raise ObjectNotFound(f"{key}: not in {self!r}")
        return self._root + key

    def _call(self, work: Callable[[], T], key: str = "", attempts: int | None = None) -> T:
        patience = Attempts(self._health, self._settings.storage_timeout, *([attempts] if attempts else []))
        return retried(work, lambda exc: self._meaning(exc, key), patience)

    def _meaning(self, exc: Exception, key: str) -> Failure | None:
        if isinstance(exc, (ObjectNotFound, StorageUnavailable)):
            return Failure(exc)
        return meaning_of(exc, self._where, key)

    @property
    def _store(self) -> GCSStore | AzureStore:
        """Made at the first use, after any fork."""
        with self._lock:
            if not obstore_runtime.usable():
                raise StorageUnavailable(f"storage {self!r}: was used before this process was forked; open it after the fork")
            if self._opened is None:
                self._opened = self._opener()
            return self._opened


def _options(start: int, end: int | None, etag: str) -> GetOptions:
    options: GetOptions = {"if_match": etag} if etag else {}
    if end is not None:
        options["range"] = (start, end)
    elif start:
        options["range"] = {"offset": start}
    return options


def _beyond_end(exc: Exception) -> bool:
    """Nothing is stored from the asked offset on: 416, or obstore's own check of the answer."""
    return isinstance(exc, (BaseError, ValueError)) and (status_of(exc) == 416 or "but object was only" in str(exc))
