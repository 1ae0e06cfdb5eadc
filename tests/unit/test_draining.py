"""The end of an API process, signal by signal."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from api.draining import Draining


@pytest.fixture
def server() -> Iterator[list[int]]:
    """The signals that reached the server's own handler."""
    reached: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        reached.append(number)

    former = signal.signal(signal.SIGTERM, handler)
    yield reached
    signal.signal(signal.SIGTERM, former)


async def _until(reached: list[int], count: int = 1) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        while len(reached) < count:  # noqa: ASYNC110 - a signal handler sets no event
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_the_server_hears_of_it_when_the_drain_is_over(server: list[int]) -> None:
    draining = Draining(0.3, grace=10)
    with draining.on_sigterm():
        assert not draining.begun
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert draining.begun
        assert server == []
        # Held answers are sent well before the server gives up on them.
        assert time.monotonic() + 7 < draining.until < time.monotonic() + 0.3 + 10
        assert await _until(server) > 0.2
    assert server == [signal.SIGTERM]


async def test_a_second_signal_ends_it_at_once(server: list[int]) -> None:
    draining = Draining(60, grace=1)
    with draining.on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await _until(server) < 5


async def test_without_a_drain_nothing_is_held_up(server: list[int]) -> None:
    draining = Draining(0, grace=1)
    with draining.on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        assert server == [signal.SIGTERM]
    assert draining.begun


async def test_the_servers_handler_is_back_afterwards(server: list[int]) -> None:
    with Draining(60, grace=1).on_sigterm():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert server == [signal.SIGTERM]
