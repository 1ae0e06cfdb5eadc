"""An API process gives memory back once it has grown."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from api import freed_memory


def test_what_is_resident_is_known() -> None:
    assert freed_memory.resident() > 1 << 20


async def test_memory_is_given_back_when_there_is_more_of_it_only(monkeypatch: pytest.MonkeyPatch) -> None:
    size, trims, looks = [100 << 20], [], asyncio.Semaphore(0)

    def resident() -> int:
        looks.release()
        return size[0]

    def trim(pad: int) -> int:
        trims.append(pad)
        size[0] = 110 << 20
        return 1

    monkeypatch.setattr(freed_memory, "_EVERY", 0.001)
    monkeypatch.setattr(freed_memory, "resident", resident)
    monkeypatch.setattr(freed_memory, "_trim", lambda: trim)
    task = asyncio.create_task(freed_memory.give_back())
    for _ in range(5):
        await looks.acquire()
    assert not trims
    size[0] = 200 << 20
    for _ in range(8):
        await looks.acquire()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert trims == [0], "once: what is left is what is needed"


async def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "_trim", lambda: None)
    await asyncio.wait_for(freed_memory.give_back(), 5)
