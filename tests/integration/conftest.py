"""One deployment that most tests of the load protocol share: each brings a session of its own to it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.gated_bucket import GatedBucket, gated_bucket
from tests.servers import Api, Child, Deployment, RedisServer, deployment

RICH = "19-00-40"
SMALL = "19-07-13"


@dataclass(frozen=True, slots=True)
class Running:
    """Two API processes and one worker of two processes."""

    whole: Deployment
    apis: tuple[Api, Api]
    worker: Child

    @property
    def api(self) -> Api:
        return self.apis[0]


@pytest.fixture(scope="session")
def bucket(recorded: Path) -> Iterator[GatedBucket]:
    with gated_bucket(recorded) as made:
        yield made


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, bucket: GatedBucket) -> Iterator[Running]:
    with deployment(tmp_path_factory.mktemp("deployment"), redis_server, bucket.storage) as whole:
        with ThreadPoolExecutor() as starting:
            started = [starting.submit(whole.api), starting.submit(whole.api), starting.submit(whole.worker, 2)]
            first, second, worker = (one.result() for one in started)
        yield Running(whole, (first, second), worker)


@pytest.fixture(scope="session")
def database() -> Iterator[count[int]]:
    """Numbers of Redis databases that no other deployment uses."""
    return count(1)


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """What a module's own deployment sets otherwise: overridden there."""
    return {}


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    bucket: GatedBucket,
    database: count[int],
    settings: dict[str, object],
) -> Iterator[tuple[Deployment, Api]]:
    """A deployment of the module's own, and its API process. Its tests start and lose workers as they like."""
    with deployment(tmp_path_factory.mktemp("own"), redis_server, bucket.storage, next(database), **settings) as whole:
        yield whole, whole.api()


def snapshot_sizes(redis: Redis) -> dict[str, int]:
    """What the byte budget counts, by member of the eviction index."""
    names = redis.scan_iter("rhs:{*}:*:sizes")
    return {member.decode(): int(size) for name in names for member, size in redis.hgetall(name).items()}


def loading_process(worker: Child) -> psutil.Process:
    """The process of a worker that does its tasks."""
    (lane,) = psutil.Process(worker.process.pid).children()
    (child,) = lane.children()
    return child


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> str:
    """A cluster name that no other test uses."""
    return f"c{abs(hash(request.node.nodeid)):x}"
