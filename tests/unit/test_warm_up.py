"""A pool's process connects before it takes tasks, and its lane knows."""

from __future__ import annotations

import threading

import pytest

from shared.errors import StorageUnavailable, StoreUnavailable
from workers import warm_up
from workers.warm_up import WarmProcesses


def test_a_process_is_warm_once_it_is_connected() -> None:
    connected = threading.Event()
    assert warm_up.warm_up(connected.set)
    assert connected.is_set()


@pytest.mark.parametrize("error", [StorageUnavailable("away"), StoreUnavailable("away")])
def test_a_store_that_is_away_is_no_reason_to_take_no_tasks(error: Exception) -> None:
    def connect() -> None:
        raise error

    assert not warm_up.warm_up(connect)


def test_nothing_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "_PATIENCE", 0.01)
    answers = threading.Event()
    assert not warm_up.warm_up(lambda: answers.wait(30) and None)
    answers.set()


def test_a_lane_knows_when_all_its_processes_have_begun() -> None:
    connected = []
    processes = WarmProcesses(2, lambda: connected.append(True))
    assert not processes.all_begun()
    processes._begin()
    assert not processes.all_begun()
    processes._begin()
    assert processes.all_begun()
    assert len(connected) == 2
    processes._begin()
    assert processes.all_begun(), "one that was started again"
