"""Object stores: many small event files, and the end of a long log, from SeaweedFS on this machine.

    python -m benchmarks.object_stores [--quick] [--json FILE]

The laws it measures: event files come at least 4 x as fast as from a plain boto3 loop in the same run; the last 1,000 lines of a 1 GB
log cost at most 2 MB of reading and 3 x the time of one ranged GET.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3

from api.dashboard.logs.content import LogFile, content
from shared.storage.factory import open_storage
from shared.storage.port import Storage
from tests.contract.storage_suite import Place
from tests.object_stores import BUCKET, ObjectStore, seaweedfs

KEY = "log/long.log"


def event_files(store: ObjectStore, count: int, size: int, rounds: int) -> dict[str, Any]:
    """Objects per second: a plain boto3 loop, and ours; alternating, so that both see the same machine."""
    body = os.urandom(size)
    Place(store.settings, store.put).fill({f"events/{number:05}": body for number in range(count)})
    storage = open_storage(store.settings())
    objects = list(storage.list("events/"))
    assert len(objects) == count
    client = plain_client(store)

    def plain() -> None:
        for info in objects:
            assert len(client.get_object(Bucket=BUCKET, Key=info.key)["Body"].read()) == size

    def ours() -> None:
        assert all(isinstance(content, bytes) and len(content) == size for _, content in storage.read_many(objects))

    ours()
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        times["plain"].append(timed(plain))
        times["ours"].append(timed(ours))
    figures = {
        name: {
            "objects_per_s": round(count / statistics.median(t for t, _ in taken)),
            "cpu_s": round(statistics.median(c for _, c in taken), 2),
        }
        for name, taken in times.items()
    }
    ratios = [p / o for (p, _), (o, _) in zip(times["plain"], times["ours"], strict=True)]
    return {"objects": count, "bytes_each": size, **figures, "ratio": round(statistics.median(ratios), 2), "bar": ">= 4"}


class Counting:
    """A storage that counts the bytes of its ranged reads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.bytes_read = 0
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        data = self._storage.read_range(key, start, length)
        self.bytes_read += len(data)
        self.reads += 1
        return data


def _last_lines(storage: Storage, size: int) -> bytes:
    return b"".join(content(storage, LogFile(KEY, size), 1000, strip_ansi=False))


def log_end(store: ObjectStore, size: int, rounds: int) -> dict[str, Any]:
    """The last 1,000 lines of one log, beside one ranged GET of as many bytes."""
    plain_client(store).upload_fileobj(LogText(size), BUCKET, KEY)
    storage = open_storage(store.settings())
    length = storage.size(KEY)
    assert length >= size
    counting = Counting(storage)
    lines = _last_lines(counting, length)
    assert lines.count(b"\n") == 1000
    both: dict[str, list[float]] = {"get": [], "lines": []}
    for _ in range(rounds):
        both["get"].append(timed(lambda: storage.read_range(KEY, length - len(lines), len(lines)))[0])
        both["lines"].append(timed(lambda: _last_lines(storage, length))[0])
    get, last = (statistics.median(both[name]) for name in ("get", "lines"))
    return {
        "log_bytes": length,
        "bytes_returned": len(lines),
        "bytes_read": counting.bytes_read,
        "bytes_bar": "<= 2000000",
        "ranged_gets": counting.reads,
        "ms": round(last * 1000, 2),
        "one_ranged_get_ms": round(get * 1000, 2),
        "ratio": round(last / get, 2),
        "ratio_bar": "<= 3",
    }


class LogText(io.RawIOBase):
    """A worker's log of at least `size` bytes, made while it is read."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._blocks = self._text()
        self._rest = b""

    def _text(self) -> Iterator[bytes]:
        number = 0
        while self._left > 0:
            block = b"".join(
                b"2026-11-24 12:00:%02d,%03d\tINFO worker.py:%d -- step %d: loss 0.%06d, %d rows of the batch read\n"
                % (n % 60, n % 1000, n % 700, n, n * 7919 % 1_000_000, n % 4096)
                for n in range(number, number + 10_000)
            )
            number += 10_000
            self._left -= len(block)
            yield block

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, held = [self._rest], len(self._rest)
        while size < 0 or held < size:
            block = next(self._blocks, b"")
            if not block:
                break
            parts.append(block)
            held += len(block)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]


def plain_client(store: ObjectStore) -> Any:
    settings = store.settings()
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=settings.storage_region,
        aws_access_key_id=settings.storage_key_id,
        aws_secret_access_key=settings.storage_secret.get_secret_value(),
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    share = 10 if given.quick else 1
    with tempfile.TemporaryDirectory() as directory, seaweedfs(Path(directory)) as store:
        figures = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "event_files": event_files(store, 5000 // share, 50_000, 3),
            "log_end": log_end(store, (1 << 30) // share, 21),
        }
    for name, values in figures.items():
        print(name if isinstance(values, dict) else f"{name}: {values}")
        for what, value in values.items() if isinstance(values, dict) else ():
            print(f"  {what:20} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
