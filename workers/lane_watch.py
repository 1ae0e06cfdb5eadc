"""A lane watches itself: can it take tasks, and if it never will again, it ends, so that its supervisor starts it anew.

Celery can be left with a message that it holds and never runs (an acknowledgement or a callback failed while Redis answered errors),
with a pool without processes, or with a consumer that does not come back after its broker did.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import Any

import structlog
from celery.signals import heartbeat_sent, worker_ready, worker_shutting_down
from celery.worker import state as celery_state

from workers.lane_states import BROKER, ENDING, POOL, STARTING, STUCK, TAKING, LaneStates
from workers.warm_up import WarmProcesses

log = structlog.get_logger()

_EVERY = 1.0
# Celery's consumer says every 2 s that it is there, as long as it has its broker.
_SAID_AGO = 10.0
# So many looks in a row find a message held and nothing running, or no process in the pool: it is shown, and then the end.
# Looks, not seconds: a process that was frozen has not looked.
_SHOWN = 5
_ENDED = 10
# The broker answers, and the consumer does not come back.
_NOT_BACK = 60.0
# An orderly end may hang, too.
_LAST_RESORT = 5.0
_EXIT_CODE = 70


class LaneWatch:
    """`worker`: the lane's Celery worker, and the `processes` of its pool, watched from a thread of its process."""

    def __init__(self, lane: str, states: LaneStates, worker: Any, processes: WarmProcesses) -> None:
        self._lane, self._states, self._worker = lane, states, worker
        self._processes = processes
        self._taking = False
        self._said = time.monotonic()
        self._in_a_row: Counter[str] = Counter()
        self.asked_to_end = False
        self.wedged = ""
        worker_ready.connect(self._ready, weak=False)
        heartbeat_sent.connect(self._heartbeat, weak=False)
        worker_shutting_down.connect(self._ending, weak=False)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="lane-watch", daemon=True).start()

    def _ready(self, **_: Any) -> None:
        self._taking = True
        self._heartbeat()

    def _heartbeat(self, **_: Any) -> None:
        self._said = time.monotonic()

    def _ending(self, **_: Any) -> None:
        self.asked_to_end = True

    def _watch(self) -> None:
        while True:
            try:
                self._states.say(self._lane, self._look())
            except Exception:  # what is looked at changes meanwhile
                log.exception("lane not looked at")
            if self.wedged:
                time.sleep(_LAST_RESORT)
                os._exit(_EXIT_CODE)
            time.sleep(_EVERY)

    def _look(self) -> str:
        if self.asked_to_end:
            return ENDING
        if not self._taking or not self._processes.all_begun():
            return STARTING
        silent = time.monotonic() - self._said
        for word, wrong in ((STUCK, self._holds_and_runs_nothing()), (POOL, self._has_no_process())):
            self._in_a_row[word] = self._in_a_row[word] + 1 if wrong and silent < _SAID_AGO else 0
            if self._in_a_row[word] > _ENDED:
                self._end(word)
            if self._in_a_row[word] > _SHOWN:
                return word
        if silent > _NOT_BACK and self._broker_answers():
            self._end(BROKER)
        return BROKER if silent > _SAID_AGO else TAKING

    def _end(self, why: str) -> None:
        """Orderly, from Celery's own loop: what is held goes back to the queue."""
        log.critical("lane takes no tasks any more, and ends", lane=self._lane, why=why)
        self.wedged = why
        celery_state.should_terminate = _EXIT_CODE

    def _holds_and_runs_nothing(self) -> bool:
        if celery_state.active_requests or celery_state.scheduled_requests:
            return False
        return bool(celery_state.reserved_requests) or self._unacknowledged() > 0

    def _unacknowledged(self) -> int:
        """Messages that this process has taken from the broker and not given an answer for, where Kombu counts them itself."""
        consumer = getattr(self._worker.consumer, "task_consumer", None)
        qos = getattr(getattr(consumer, "channel", None), "qos", None)
        delivered, answered = getattr(qos, "_delivered", None), getattr(qos, "_dirty", ())
        return len(delivered) - len(answered) if delivered is not None else 0

    def _has_no_process(self) -> bool:
        pool = getattr(self._worker.pool, "_pool", None)
        # Not asked by `is_alive`, which would take the end of a process from Celery's own thread.
        return pool is not None and not any(_runs(process.pid) for process in list(pool._pool))  # noqa: SLF001 - nothing else says so

    def _broker_answers(self) -> bool:
        try:
            with self._worker.app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, timeout=5)
        except Exception:  # noqa: BLE001 - each transport has errors of its own
            return False
        return True


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
