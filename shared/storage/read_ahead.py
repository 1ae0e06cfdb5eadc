"""Reading many objects concurrently, in order, within a bounded number of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.port import ObjectInfo

Answer = bytes | ObjectNotFound | StorageUnavailable


def read_ahead(
    objects: Iterable[ObjectInfo],
    read: Callable[[ObjectInfo], bytes],
    *,
    threads: int,
    budget: int,
    batch_objects: int = 1,
    batch_bytes: int = 1 << 20,
) -> Iterator[tuple[ObjectInfo, Answer]]:
    """Yield every object with its content, or with the error of reading it, in the given order.

    Objects that are being read or wait for the caller take at most `budget` bytes together, the one in the caller's hands
    included; an object larger than that is read alone. Small neighbours go to one thread as a batch, which saves
    hand-overs where a read is cheap.
    """
    pending: deque[tuple[int, list[ObjectInfo], Future[list[Answer]]]] = deque()
    batches = _batches(objects, batch_objects, min(batch_bytes, budget))
    held = 0
    with _Pool(threads) as pool:
        waiting = next(batches, None)
        while waiting or pending:
            while waiting and len(pending) < 2 * threads and (not held or held + _size(waiting) <= budget):
                held += _size(waiting)
                pending.append((_size(waiting), waiting, pool.submit(_read_batch, read, waiting)))
                waiting = next(batches, None)
            size, batch, future = pending.popleft()
            answers = future.result()
            answers.reverse()
            for info in batch:
                yield info, answers.pop()
            held -= size


class _Pool(ThreadPoolExecutor):
    """Leaves without waiting when the caller stops early: reads under way end by their own deadlines."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="storage-read")

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)


def _batches(objects: Iterable[ObjectInfo], most: int, most_bytes: int) -> Iterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    for info in objects:
        if batch and (len(batch) >= most or _size(batch) + info.size > most_bytes):
            yield batch
            batch = []
        batch.append(info)
    if batch:
        yield batch


def _size(batch: list[ObjectInfo]) -> int:
    return sum(info.size for info in batch)


def _read_batch(read: Callable[[ObjectInfo], bytes], batch: list[ObjectInfo]) -> list[Answer]:
    answers: list[Answer] = []
    for info in batch:
        try:
            answers.append(read(info))
        except (ObjectNotFound, StorageUnavailable) as exc:
            answers.append(exc)
    return answers
