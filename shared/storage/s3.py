"""S3 and what speaks like it. boto3 lists and streams; small objects and ranges are read through obstore, several times faster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError
from obstore.store import S3Store

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage import obstore_runtime
from shared.storage.object_store_writer import ObjectStoreWriter
from shared.storage.port import ObjectInfo, is_key, is_prefix
from shared.storage.read_ahead import Answer, read_ahead
from shared.storage.retries import Attempts, Failure, Health, retried, same_version
from shared.storage.s3_client import bulk_store, client_of, is_aws, session_of
from shared.storage.s3_errors import meaning_of
from shared.storage.s3_listing import Listing

if TYPE_CHECKING:
    from obstore import Bytes

T = TypeVar("T")

_CHUNK = 256 << 10
_PAGE = 1000
_SMALL = 8 << 20
_PATIENCE_OF_CHECK = 3


def open_s3_writer(settings: StorageSettings, bucket: str, root: str) -> ObjectStoreWriter:
    """The write side: obstore, at the address and with the credentials that boto3 finds."""

    def opened() -> S3Store:
        session = session_of(settings)
        return bulk_store(session, client_of(session, settings), settings, bucket)

    return ObjectStoreWriter(opened, settings, f"s3://{bucket}", root, meaning_of)


class S3Storage:
    """`Storage` over one bucket, below `root`."""

    def __init__(self, settings: StorageSettings, bucket: str, root: str = "") -> None:
        self._settings = settings
        self._bucket = bucket
        self._root = f"{root}/" if root else ""
        self._where = f"s3://{bucket}" + (f"/{root}" if root else "")
        self._health = Health()
        self._lock = threading.Lock()
        self._bulk_lock = threading.Lock()
        self._opened: tuple[Any, Any] | None = None
        self._bulk: S3Store | None = None

    def __repr__(self) -> str:
        return self._where

    def check(self) -> None:
        self._call(lambda: self._page(self._root, None, "", 1), attempts=_PATIENCE_OF_CHECK)

    def prepare(self) -> None:
        self._call(self._bulk_store if obstore_runtime.usable() else self._open, attempts=1)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        # Not every store that speaks S3 lists in key order: SeaweedFS lists directories as a file system does.
        return self._below(prefix) if self._lists_in_order() else iter(sorted(self._below(prefix), key=lambda info: info.key.encode()))

    def directories(self, prefix: str) -> Sequence[str]:
        if not is_prefix(prefix):
            return []
        listing = Listing(self._ask_for_page, self._where, self._settings.storage_connections)
        return sorted((name.removesuffix("/").rpartition("/")[2] for name in listing.directories(self._root + prefix)), key=str.encode)

    def _lists_in_order(self) -> bool:
        return self._call(lambda: is_aws(self._client))

    def _below(self, prefix: str) -> Iterator[ObjectInfo]:
        if is_prefix(prefix):
            listing = Listing(self._ask_for_page, self._where, self._settings.storage_connections)
            for info in listing.below(self._root + prefix):
                yield ObjectInfo(info.key.removeprefix(self._root), info.size)

    def _ask_for_page(self, prefix: str, token: str | None, delimiter: str = "") -> dict[str, Any]:
        return self._call(lambda: self._page(prefix, token, delimiter, _PAGE))

    def _page(self, prefix: str, token: str | None, delimiter: str, most: int) -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        more |= {"Delimiter": delimiter} if delimiter else {}
        page: dict[str, Any] = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=most, **more)
        return page

    def size(self, key: str) -> int:
        return self._call(lambda: self._size(key), key)

    def _size(self, key: str) -> int:
        try:
            return int(self._client.head_object(Bucket=self._bucket, Key=self._full(key))["ContentLength"])
        except ClientError as exc:
            if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
        # An answer to HEAD has no body: only GET tells a missing object from a missing bucket.
        with closing(self._get(key, 0, 1)) as body:
            return int(body.total)

    def read(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            self.size(key)
            return b""
        # One range is no reason to make a second client.
        fast = self._bulk is not None
        data = self._fast(length, lambda store: store.get_range(self._full(key), start=start, length=length)) if fast else None
        return b"".join(self.stream(key, start, length)) if data is None else data

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A broken answer is taken up where it broke, of the same version of the object."""
        attempts = Attempts(self._health, self._settings.storage_timeout)
        end = None if length is None else start + length
        etag = ""
        while end is None or start < end:
            try:
                with closing(self._get(key, start, end, etag)) as body:
                    etag = same_version(key, self._where, etag, body.etag)
                    for chunk in body:
                        yield chunk
                        start += len(chunk)
                        attempts.progressed()
            except Exception as exc:
                failure = self._meaning(exc, key)
                if failure is None:
                    raise
                attempts.failed(failure, exc)
            else:
                return

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Answer]]:
        settings = self._settings
        return read_ahead(objects, self._read_fast, threads=settings.storage_connections, budget=settings.storage_read_ahead)

    def close(self) -> None:
        with self._lock:
            opened, self._opened, self._bulk = self._opened, None, None
        if opened:
            opened[1].close()

    def _read_fast(self, info: ObjectInfo) -> bytes:
        data = self._fast(info.size, lambda store: store.get(self._full(info.key)).bytes())
        return self.read(info.key) if data is None else data

    def _fast(self, size: int, get: Callable[[S3Store], Bytes]) -> bytes | None:
        """What obstore reads, in a tenth of boto3's time. None: boto3 shall do it, which tells what is wrong, retries longer, and knows
        keys that obstore does not.
        """
        if size > _SMALL or self._health.down or not obstore_runtime.usable():
            return None
        try:
            if (store := self._bulk_store()) is None:
                return None
            data = bytes(get(store))
        except (BaseError, BotoCoreError, ClientError, OSError, ValueError):
            return None
        self._health.answered()
        return data

    def _get(self, key: str, start: int, end: int | None, etag: str = "") -> _Body:
        wanted: dict[str, str] = {"IfMatch": etag} if etag else {}
        if start or end is not None:
            wanted["Range"] = f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"
        try:
            return _Body(self._client.get_object(Bucket=self._bucket, Key=self._full(key), **wanted))
        except ClientError as exc:
            if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416:  # nothing from there on
                return _Body({"ETag": etag})
            raise

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
    def _client(self) -> Any:
        return self._open()[1]

    def _open(self) -> tuple[Any, Any]:
        """Session and client, made at the first use: clients must not be carried over a fork."""
        with self._lock:
            if self._opened is None:
                session = session_of(self._settings)
                self._opened = session, client_of(session, self._settings)
            return self._opened

    def _bulk_store(self) -> S3Store | None:
        """None while another thread makes it: one that cannot be reached must not hold up all of them."""
        if self._bulk is None and self._bulk_lock.acquire(blocking=False):
            try:
                self._bulk = self._bulk or bulk_store(*self._open(), self._settings, self._bucket)
            finally:
                self._bulk_lock.release()
        return self._bulk


class _Body:
    """The body of one answer to GET, in chunks."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._stream = answer.get("Body")
        self.etag = str(answer.get("ETag", ""))
        length = int(answer.get("ContentLength", 0))
        self.total = int(str(answer.get("ContentRange", "")).rpartition("/")[2] or length)

    def __iter__(self) -> Iterator[bytes]:
        if self._stream is not None:
            yield from self._stream.iter_chunks(_CHUNK)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
