"""A process of a lane's pool is warm before it takes tasks: its clients are made and connected, so that no load waits for that."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.signals import worker_process_init

from shared.errors import HistoryError

log = structlog.get_logger()

# A store that is away is no reason to take no tasks: they say so themselves.
_PATIENCE = 3.0


def warm_up(connect: Callable[[], None]) -> bool:
    """Is it warm? If not, it gets warm with its first task."""
    warm = threading.Event()

    def connecting() -> None:
        try:
            connect()
            warm.set()
        except HistoryError as exc:
            log.warning("not warm", error=str(exc))

    thread = threading.Thread(target=connecting, name="warm-up", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return warm.is_set()


class WarmProcesses:
    """How many of a lane's processes have begun, said by them to the lane. Made before they are forked."""

    def __init__(self, processes: int, connect: Callable[[], None]) -> None:
        self._awaited = processes
        self._connect = connect
        self._heard, self._said = os.pipe()
        os.set_blocking(self._heard, False)
        worker_process_init.connect(self._begin, weak=False)

    def all_begun(self) -> bool:
        """Each of the first ones is warm, or could not be."""
        if self._awaited > 0:
            try:
                self._awaited -= len(os.read(self._heard, 4096))
            except BlockingIOError:
                return False
        return self._awaited <= 0

    def _begin(self, **_: Any) -> None:
        warm_up(self._connect)
        os.write(self._said, b".")
