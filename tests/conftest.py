"""Fixtures for all tests: the recorded sessions, servers of the matrix, and the check that nothing leaks in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.data.recorded import unpack
from tests.servers import RedisServer, redis_binaries

# How long an example takes, or is thought up, says something about the machine, not about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    """A client of httpx, and so each `httpx.get`, reads all authorities of the Web: 25 ms of CPU, twenty times a second while a test waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bucket/` and `live/`: real sessions as a collector stored them, and the live dashboard's answers."""
    return unpack(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="session", params=sorted(redis_binaries()))
def any_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Each server of the matrix in turn."""
    server = RedisServer(redis_binaries()[request.param], tmp_path_factory.mktemp(request.param))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for whole deployments; each takes a database of its own."""
    server = RedisServer(redis_binaries()["valkey"], tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Every key has a TTL or is what the eviction index is made of; Celery's own queue and bindings are its own business."""
    yield
    leaks = [leak for server in RedisServer.running for leak in server.leaks()]
    assert not leaks, f"keys without TTL: {leaks}"
