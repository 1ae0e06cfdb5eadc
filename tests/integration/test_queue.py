"""The queue of loads on a real broker: connections that are cut, and an outage, cost a message at most, and are said as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import StoreUnavailable
from shared.queue import LoadQueue, make_celery
from shared.sessions import Session
from shared.settings import Settings
from tests.servers import RedisServer

SESSION = Session("test", "cluster", "session_2026-11-21_10-00-00_000001_1")


@pytest.fixture
def queue(any_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LoadQueue:
    monkeypatch.setenv("RAY_HISTORY_REDIS_URL", any_redis.url(13))
    monkeypatch.setenv("RAY_HISTORY_STORAGE", tmp_path.as_uri())
    return LoadQueue(make_celery(Settings.from_environment()), limit=1000)


def _sent(queue: LoadQueue, number: int) -> bool:
    """False: it was said that it could not be sent. Any other error fails the test."""
    try:
        queue.send_load(SESSION, str(number))
    except StoreUnavailable:
        return False
    return True


def test_cut_connections_are_opened_again(any_redis: RedisServer, queue: LoadQueue) -> None:
    with any_redis.client(13) as client:
        client.flushdb()
        sent = 0
        for number in range(20):
            sent += _sent(queue, number)
            client.client_kill_filter(_type="normal", skipme=True)
        # The one that finds its connection cut may fail, and the next one is sent.
        assert sent >= 10
        assert queue.depth().waiting == sent
        client.flushdb()


def test_an_outage_is_said_and_forgotten(any_redis: RedisServer, queue: LoadQueue) -> None:
    assert _sent(queue, 1)
    any_redis.stop()
    assert [_sent(queue, number) for number in range(3)] == [False] * 3
    any_redis.start()
    assert _sent(queue, 2)
    with any_redis.client(13) as client:
        client.flushdb()
