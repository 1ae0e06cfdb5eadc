"""Small sessions from a real S3 server (SeaweedFS) on loopback: their time beside the same from a directory, and what they ask for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.bench import Bench, median
from benchmarks.loading import Load, load
from benchmarks.report import Row
from benchmarks.server import Server, running
from benchmarks.sessions import RICH, SMALL
from shared.layout import data_prefixes
from shared.sessions import Session
from shared.storage.local import LocalStorage
from tests.object_stores import ObjectStore, seaweedfs
from workers.event_files import sort_files

_REQUESTS = "SeaweedFS_s3_request_total"
# US dollars for a request to S3 Standard, us-east-1.
_PRICES = {"LIST": 0.005 / 1000, "GET": 0.0004 / 1000, "HEAD": 0.0004 / 1000}
_SPARE = 10


def from_s3(bench: Bench) -> list[Row]:
    """Two worker processes each, alternating with the server on a directory."""
    bench.recorded()
    bench.server.start_workers(2)
    with tempfile.TemporaryDirectory() as directory, seaweedfs(Path(directory)) as store:
        _upload(bench.bucket, store)
        server_directory = bench.directory / "s3"
        server_directory.mkdir()
        with running(store.settings(), server_directory, 2) as server:
            return _rows(bench, server, store)


def _rows(bench: Bench, server: Server, store: ObjectStore) -> list[Row]:
    fresh, later = _first_loads(bench, server)
    near: list[Load] = []
    far: list[Load] = []
    small: list[Load] = []
    asked: list[dict[str, int]] = []
    for _ in range(2 * bench.sizes.rounds + 1):
        near.append(load(bench.server, RICH))
        with _counted(store, asked):
            far.append(load(server, RICH))
        small.append(load(server, SMALL))
    from_directory, from_store = _seconds(near), _seconds(far)
    requests = median(sum(kinds.values()) for kinds in asked)
    dollars = 1000 * sum(_PRICES.get(kind, 0) * count for kind, count in asked[-1].items())
    files = _files(bench, RICH)
    named = f"recorded session of {far[0].events:,} events"
    return [
        Row(f"{named} from S3, enter to loaded", from_store, "s", 1.5, floor=from_directory, floor_name="from a directory",
            details={"loads": [one.details() for one in far], "from_directory": [one.details() for one in near]}),
        Row(f"{named} from S3, first load of a fresh worker", median(fresh), "s", 1.3, floor=median(later), floor_name="its next load",
            details={"first": fresh, "next": later}),
        Row(f"recorded session of {small[0].events:,} events from S3, enter to loaded", _seconds(small), "s", 0.08,
            details={"loads": [one.details() for one in small]}),
        Row(f"{named} from S3, requests for a load", requests, "requests", files["bar"], details={"by_kind": asked, "files": files}),
        Row(f"{named} from S3, 1,000 loads at S3's prices", dollars, "dollars", 1000 * files["dollars"]),
    ]  # fmt: skip


def _first_loads(bench: Bench, server: Server) -> tuple[list[float], list[float]]:
    """Of worker processes that were just started and are ready, and of the same ones after that: one process, so that it is the same."""
    first, later = [], []
    for _ in range(bench.sizes.rounds):
        server.start_workers(1)
        first.append(load(server, RICH).seconds)
        # The light lane's process is as fresh, and takes one of two.
        later += [load(server, RICH).seconds for _ in range(6)][2:]
    server.start_workers(2)
    for _ in range(6):
        load(server, RICH)
    return first, later


@contextmanager
def _counted(store: ObjectStore, counts: list[dict[str, int]]) -> Iterator[None]:
    """Adds what the store was asked for inside, by kind of request."""
    before = _requests(store)
    yield
    counts.append({kind: count - before.get(kind, 0) for kind, count in _requests(store).items() if count > before.get(kind, 0)})


def _requests(store: ObjectStore) -> dict[str, int]:
    """Since its start, as it counts them itself."""
    found: dict[str, int] = {}
    for line in httpx.get(store.metrics, trust_env=False).text.splitlines():
        if line.startswith(_REQUESTS):
            kind = line.partition('type="')[2].partition('"')[0]
            found[kind] = found.get(kind, 0) + int(float(line.rpartition(" ")[2]))
    return found


def _files(bench: Bench, session: Session) -> dict[str, Any]:
    """How many files a load has to read, the bar, and what that costs with one listing."""
    (prefix,) = data_prefixes(session)
    files = sort_files(session, LocalStorage(bench.bucket).list(prefix), lambda _: None)
    found = {
        "event files": len(files.events),
        "stored answers": len(files.endpoints),
        "log event files that are not empty": sum(file.size > 0 for file in files.log_events),
    }
    bar = sum(found.values()) + _SPARE
    return {**found, "bar": bar, "dollars": _PRICES["LIST"] + (bar - 1) * _PRICES["GET"]}


def _upload(bucket: Path, store: ObjectStore) -> None:
    """The recorded sessions of the cluster, and their markers."""
    for path in sorted(bucket.rglob("*")):
        key = str(path.relative_to(bucket))
        if path.is_file() and RICH.cluster in key:
            store.put(key, path.read_bytes())


def _seconds(loads: list[Load]) -> float:
    return median(one.seconds for one in loads)
