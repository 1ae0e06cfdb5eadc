"""Listing an S3 bucket: page by page, and where more than a page lies below several directories, those at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from shared.errors import StorageUnavailable
from shared.storage.port import ObjectInfo

_MOST_DIRECTORIES = 256


class AskForPage(Protocol):
    """One answer to ListObjectsV2, retried by the caller; full keys."""

    def __call__(self, prefix: str, token: str | None, delimiter: str = "") -> dict[str, Any]: ...


class Listing:
    """Everything below a prefix of full keys. Raises StorageUnavailable if any page fails: never a short listing."""

    def __init__(self, ask: AskForPage, where: str, threads: int) -> None:
        self._ask = ask
        self._where = where
        self._threads = threads

    def below(self, prefix: str) -> Iterator[ObjectInfo]:
        """In the store's order. A first page that says all costs one request."""
        page = self._ask(prefix, None)
        first = list(objects_of(page))
        yield from first
        token = self._next(page)
        if not token:
            return
        directories = self._directories(prefix)
        if directories is None:
            yield from self._sequential(prefix, token)
        else:
            yield from self._at_once(directories, {info.key for info in first})

    def _sequential(self, prefix: str, token: str | None = None) -> Iterator[ObjectInfo]:
        while True:
            page = self._ask(prefix, token)
            yield from objects_of(page)
            token = self._next(page)
            if not token:
                return

    def directories(self, prefix: str) -> Iterator[str]:
        """The full keys of what is right below `prefix` and holds more; each ends in `/`."""
        token = None
        while True:
            page = self._ask(prefix, token, "/")
            yield from (item["Prefix"] for item in page.get("CommonPrefixes", ()))
            token = self._next(page)
            if not token:
                return

    def _next(self, page: dict[str, Any]) -> str | None:
        if not page.get("IsTruncated"):
            return None
        token: str | None = page.get("NextContinuationToken")
        if not token:
            raise StorageUnavailable(f"storage {self._where}: a page of the listing says that more follow, but not where")
        return token

    def _directories(self, prefix: str) -> list[str] | None:
        """The directories right below `prefix` when there is nothing but a few of them; None: list page by page.

        Asked for without an offset: stores disagree on what one inside a directory does to it.
        """
        page = self._ask(prefix, None, "/")
        names = [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        alone = not any(True for _ in objects_of(page)) and not page.get("IsTruncated")
        return sorted(names, key=str.encode) if alone and 2 <= len(names) <= _MOST_DIRECTORIES else None

    def _at_once(self, directories: list[str], seen: set[str]) -> Iterator[ObjectInfo]:
        """All of these directories but what was seen, in their order; as many are listed ahead as there are threads."""
        left = deque(directories)
        pending: deque[Future[list[ObjectInfo]]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="storage-list")
        try:
            while left or pending:
                while left and len(pending) < self._threads:
                    pending.append(pool.submit(lambda name: list(self._sequential(name)), left.popleft()))
                yield from (info for info in pending.popleft().result() if info.key not in seen)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def objects_of(page: dict[str, Any]) -> Iterator[ObjectInfo]:
    """Without the placeholders of directories (`dir/`) that KubeRay's collector writes."""
    for item in page.get("Contents", ()):
        if not item["Key"].endswith("/"):
            yield ObjectInfo(item["Key"], item["Size"])
