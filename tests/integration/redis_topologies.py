"""A server of a Sentinel set or of a Cluster is lost while 20 clients read and sessions load: no wrong answer, and every load completes."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.integration.conftest import RICH, SMALL
from tests.redis_topologies import Topology, cluster, sentinels
from tests.servers import Api, RedisServer, deployment
from tests.waiting import wait_until

READERS = 20
PAUSE = 0.1
EVERYTHING = {"detail": 1, "limit": 10_000, "exclude_driver": "false"}


@pytest.mark.parametrize(("topology", "own_broker"), [(sentinels, False), (cluster, True)], ids=["sentinel", "cluster"])
def test_a_server_is_lost_while_sessions_load_and_are_read(
    topology: Callable[[Path], AbstractContextManager[Topology]],
    own_broker: bool,
    tmp_path: Path,
    redis_server: RedisServer,
    recorded: Path,
    database: count[int],
) -> None:
    bucket = tmp_path / "bucket"
    read = _copy(recorded, bucket, "read", RICH)
    loading = [_copy(recorded, bucket, f"loading-{number}", RICH if number % 2 else SMALL) for number in range(5)]
    number = next(database)
    with topology(tmp_path) as redis:
        settings: dict[str, Any] = {"REDIS_URL": redis.url, "PART_BYTES": 200_000, "RANGE_TASKS": 100, "REDIS_TIMEOUT": 2}
        settings |= {"BROKER_URL": redis_server.url(number)} if own_broker else {}
        with deployment(tmp_path, redis_server, {"STORAGE": bucket.as_uri()}, number, **settings) as whole:
            api = whole.api()
            whole.worker(2, light_lane=True)
            _load(api, read)
            right = api.tasks(read).json()["data"]["result"]
            assert right["total"] == 329
            with _Readers(api, read, right) as readers:
                wait_until(lambda: readers.seen["right"] >= READERS, "all to read")
                for ref in loading:
                    api.get(f"/enter_cluster/{ref}")
                redis.lose_one()
                wait_until(redis.recovered, "another server to take its place", 60)
                records = [_load(api, ref) for ref in loading]
                before = readers.seen["right"]
                wait_until(lambda: readers.seen["right"] > before + READERS, "all to read again", 60)
            assert not readers.wrong
            for ref, record in zip(loading, records, strict=True):
                assert record["complete"] is True, record["losses"]
                if ref.rpartition("/")[2].startswith("session_2026-11-23_19-00-40"):
                    assert api.tasks(ref).json()["data"]["result"]["total"] == 329


def _copy(recorded: Path, bucket: Path, cluster: str, session: str) -> str:
    """A recorded session (a part of its name is enough) as one of `cluster`; returns its reference."""
    (source,) = recorded.glob(f"bucket/cluster-history/*/*/*/session_*{session}*")
    shutil.copytree(source, bucket / "cluster-history" / "raycluster" / "test" / cluster / source.name)
    marker = bucket / "cluster-metadata" / "raycluster" / f"test_{cluster}" / source.name
    marker.parent.mkdir(parents=True)
    marker.touch()
    return f"test/raycluster/{cluster}/{source.name}"


def _load(api: Api, ref: str) -> dict[str, Any]:
    """The load status of a session that is loaded now, however often its servers refuse meanwhile."""
    wait_until(lambda: api.get(f"/enter_cluster/{ref}", params={"wait": 5}).status_code == 200, f"the load of {ref}", 120)
    record: dict[str, Any] = api.get(f"/sessions/{ref}").json()
    return record


class _Readers:
    """Clients that read one session over and over. Refused is no wrong answer: 503, or no answer."""

    def __init__(self, api: Api, ref: str, right: dict[str, Any]) -> None:
        self._url = f"{api.url}/sessions/{ref}/dashboard/api/v0/tasks"
        self._right = right
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    answer = client.get(self._url, params=EVERYTHING)
                except httpx.TransportError:
                    self.seen["no answer"] += 1
                    continue
                if answer.status_code == 503:
                    self.seen["refused"] += 1
                    time.sleep(0.1)  # as Retry-After asks, but sooner
                elif answer.status_code == 200 and answer.json()["data"]["result"] == self._right:
                    self.seen["right"] += 1
                    time.sleep(PAUSE)
                else:
                    self.wrong.append(f"{answer.status_code} {answer.text[:300]}")
