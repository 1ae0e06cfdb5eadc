"""The first process of `ray-history worker`: it forks the lanes and what runs beside them, and starts each again that ends.

Forked after all is imported, they share that memory. This process has no threads, so that it may fork at any time.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import structlog

from shared.forking import ended, fork
from shared.huge_pages import use_huge_pages
from shared.restarts import Restarts
from shared.settings import Settings
from workers import lane, retention
from workers.health_server import HealthServer
from workers.job_index import lister
from workers.lane import Lane
from workers.lane_states import ENDING, STARTING, LaneStates

log = structlog.get_logger()

_POLL = 0.1
# Beyond the lanes' own grace: to hand back, and to say good-bye to the broker.
_MARGIN = 8.0


@dataclass(slots=True)
class _Child:
    """What runs in one forked process; `work` returns its exit code."""

    name: str
    work: Callable[[], int]
    pid: int = 0
    due: float = 0.0
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor:
    """Of one worker. `ready_file` is there while all lanes take tasks for the first time, until the end."""

    def __init__(self, lanes: Sequence[Lane], settings: Settings, ready_file: Path | None) -> None:
        self._settings = settings
        self._lanes = [one.name for one in lanes]
        self._grace = settings.worker.worker_grace + _MARGIN
        self._states = LaneStates(self._lanes)
        self._ready_file = ready_file
        self._health = HealthServer(settings, self._states) if settings.worker.worker_port else None
        self._children = [_Child(one.name, partial(self._run_lane, one, settings)) for one in lanes]
        if self._health:
            self._children.append(_Child("health", self._health.run))
        if settings.jobs.job_index:
            self._children.append(_Child("job index", partial(self._run_beside, lister.run, settings)))
        if settings.retention.retention:
            self._children.append(_Child("retention", partial(self._run_beside, retention.run, settings)))
        self._asked: list[signal.Signals] = []

    def run(self) -> int:
        """Until a signal asks to end. Returns the exit code: 0 only then; 1 when something ends again and again."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        # Processes that load turn them on again.
        use_huge_pages(use=False)
        lane.import_for_lanes(self._settings)
        gc.collect()
        gc.freeze()
        failed = ""
        try:
            while not self._asked and not failed:
                failed = self._look_after_children()
                self._tell_ready()
                time.sleep(_POLL)
        finally:
            if self._ready_file:
                self._ready_file.unlink(missing_ok=True)
            self._end()
        if failed and not self._asked:
            log.critical("worker ends", why=f"{failed} ended again and again")
            return 1
        return 0

    def _run_lane(self, one: Lane, settings: Settings) -> int:
        if self._health:
            self._health.close_inherited()
        return lane.run(one, self._states, settings)

    def _run_beside(self, work: Callable[[Settings], int], settings: Settings) -> int:
        if self._health:
            self._health.close_inherited()
        return work(settings)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked.append(signal.Signals(number))

    def _look_after_children(self) -> str:
        """Start what does not run and is due. Returns the name of a child that ends again and again."""
        for child in self._children:
            if child.pid and (code := ended(child.pid)) is not None:
                child.pid = 0
                if child.name in self._lanes:
                    self._states.say(child.name, STARTING)
                after = child.restarts.after()
                if after is None:
                    return child.name
                log.error("ended by itself, and is started again", child=child.name, code=code, seconds=after)
                child.due = time.monotonic() + after
            if not child.pid and time.monotonic() >= child.due:
                child.restarts.begun()
                child.pid = fork(child.work)
        return ""

    def _tell_ready(self) -> None:
        if self._ready_file and not self._states.missing():
            self._ready_file.touch()

    def _end(self) -> None:
        """SIGTERM to the lanes; SIGQUIT if that came, or on a second request; SIGKILL on a third, or when the grace has run out."""
        lanes = [child for child in self._children if child.name in self._lanes]
        for child in lanes:
            self._states.say(child.name, ENDING)
        deadline = time.monotonic() + self._grace
        heard = 0
        while any(child.pid for child in lanes) and time.monotonic() < deadline and heard < 3:
            requests = 2 if signal.SIGQUIT in self._asked and heard < 2 else max(1, len(self._asked))
            if requests > heard:
                heard = requests
                if heard == 2:
                    deadline = min(deadline, time.monotonic() + _MARGIN)
                _send(lanes, signal.SIGTERM if heard == 1 else signal.SIGQUIT)
            time.sleep(_POLL)
            for child in lanes:
                if child.pid and ended(child.pid) is not None:
                    child.pid = 0
        _send(self._children, signal.SIGKILL)


def _send(children: Iterable[_Child], number: signal.Signals) -> None:
    for child in children:
        if child.pid:
            os.kill(child.pid, number)
