"""A process gives memory back once it has grown."""

from __future__ import annotations

import asyncio
import ctypes
from types import SimpleNamespace

import pytest

from shared import freed_memory


def test_what_is_resident_is_known() -> None:
    assert freed_memory.resident() > 1 << 20


async def test_memory_is_given_back_when_there_is_more_of_it_only(monkeypatch: pytest.MonkeyPatch) -> None:
    size, given, looks = [100 << 20], [], asyncio.Semaphore(0)

    def resident() -> int:
        looks.release()
        return size[0]

    def give_back() -> None:
        given.append(size[0])
        size[0] = 110 << 20

    monkeypatch.setattr(freed_memory, "_EVERY", 0.001)
    monkeypatch.setattr(freed_memory, "resident", resident)
    monkeypatch.setattr(freed_memory, "give_back", give_back)
    async with freed_memory.giving_back():
        for _ in range(5):
            await looks.acquire()
        assert not given
        size[0] = 200 << 20
        for _ in range(8):
            await looks.acquire()
    assert given == [200 << 20], "once: what is left is what is needed"


def test_a_task_that_left_little_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pads: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(malloc_trim=pads.append))
    freed_memory.give_back_above(1 << 50)
    assert not pads
    freed_memory.give_back_above(1)
    assert pads == [0]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    freed_memory.give_back()
