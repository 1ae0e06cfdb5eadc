"""The end of a worker: running tasks may end by themselves for a while, then they are handed back to the queue.

Celery's first SIGTERM (warm) waits for tasks without limit, its SIGQUIT (cold) ends them at once and requeues what was not acknowledged.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import structlog
from celery.signals import worker_shutting_down

log = structlog.get_logger()


def hand_back_after(seconds: float) -> None:
    """From SIGTERM on, this worker ends within about so many seconds."""

    def bound(how: str = "", **_: Any) -> None:
        if how == "Warm":
            log.info("ending", seconds=seconds)
            timer = threading.Timer(seconds, _hand_back)
            timer.daemon = True
            timer.start()

    worker_shutting_down.connect(bound, weak=False)


def _hand_back() -> None:
    log.warning("running tasks are handed back")
    os.kill(os.getpid(), signal.SIGQUIT)
