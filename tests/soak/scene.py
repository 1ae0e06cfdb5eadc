"""What a fault may touch in one run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.soak.moments import WHILE_LOADING, Kind
from tests.soak.stack import Process, Stack
from tests.soak.visitors import Judge, Visitor


@dataclass
class Scene:
    """`later`: what ends a fault once the session has recovered; `ended`: no fault does anything more. `crowd` enters another session."""

    stack: Stack
    ref: str
    judge: Judge
    visitor: Visitor
    chance: random.Random
    crowd: Callable[[], None]
    later: list[Callable[[], object]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    orphans: list[psutil.Process] = field(default_factory=list)
    # Visitors come once this is set.
    visits: threading.Event = field(default_factory=threading.Event)

    def worker(self) -> Process:
        """One that runs."""
        alive = [process for process in self.stack.workers if process.child.runs()]
        return self.chance.choice(alive or self.stack.workers)

    def any_process(self) -> Process:
        return self.chance.choice([*self.stack.apis, *self.stack.workers])

    def pause(self, shortest: float, longest: float) -> None:
        time.sleep(self.chance.uniform(shortest, longest))

    def in_background(self, work: Callable[[], object]) -> None:
        """Until it returns, or `ended` tells it to; waited for before the run is judged."""
        thread = threading.Thread(target=_quietly, args=(work,), daemon=True)
        thread.start()
        self.later.append(lambda: thread.join(60))


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` returns when the deployment could work again. `prepare` comes before the first visit."""

    act: Callable[[Scene], None]
    moments: tuple[Kind, ...] = WHILE_LOADING
    prepare: Callable[[Scene], None] = lambda _: None


def _quietly(work: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess):
        work()
