"""The end of an API process: after SIGTERM it goes on to answer while load balancers notice `/readz`, then it ends.

Installed from inside the server, in each of its processes: the server's own handler of the signal runs when the drain is over.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

log = structlog.get_logger()

_Handler = Callable[[int, FrameType | None], object]
# Of the time that the server gives open requests at its end: a held answer is sent before that.
_HELD_SHARE = 0.8


class Draining:
    """One per process. `begun`: no new work should come here. `until`: when held answers must be sent, on the monotonic clock."""

    def __init__(self, seconds: float, grace: float) -> None:
        self._seconds = seconds
        self._grace = grace
        self.begun = False
        self.until = float("inf")

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """While inside, SIGTERM begins the drain; a second one ends it at once. Only the main thread can listen to signals."""
        server = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(server):
            yield
            return
        loop = asyncio.get_running_loop()

        def handler(number: int, frame: FrameType | None) -> None:
            if self.begun or not self._seconds:
                self._begin()
                server(number, frame)
                return
            self._begin()
            loop.call_soon_threadsafe(loop.call_later, self._seconds, server, number, None)

        signal.signal(signal.SIGTERM, handler)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGTERM) is handler:
                signal.signal(signal.SIGTERM, server)

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.until = time.monotonic() + self._seconds + self._grace * _HELD_SHARE
            log.info("draining", seconds=self._seconds)
