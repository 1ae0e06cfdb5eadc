"""A lane: one Celery worker on some of the queues, with its own pool, run in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import structlog
from celery.apps.worker import Worker
from celery.signals import worker_process_init, worker_shutting_down
from celery.utils.log import mlevel
from celery.utils.nodenames import default_nodename, host_format

from shared.broker import loads_queue, steps_queue
from shared.forking import end_with_parent
from shared.huge_pages import use_huge_pages
from shared.metrics import WORKER_PROCESSES
from shared.settings import Settings
from shared.storage.factory import import_adapter
from workers.app import app, keyspace
from workers.engine import NoSuchEngine, engine_for
from workers.lane_states import LaneStates
from workers.lane_watch import LaneWatch
from workers.tasks import connect
from workers.warm_up import WarmProcesses


def hand_back_after(seconds: float) -> None:
    """From SIGTERM on, this worker ends within about so many seconds: then running tasks are handed back to the queue.

    Celery's first SIGTERM (warm) waits for tasks without limit, its SIGQUIT (cold) ends them at once and requeues what was not
    acknowledged.
    """

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


log = structlog.get_logger()

FAILED = 1
# What Celery, Kombu and billiard import by name once a worker runs. Each process would have them for itself.
_OF_EVERY_LANE = """
    billiard.dummy billiard.heap billiard.popen_fork billiard.sharedctypes billiard.synchronize celery.app.amqp celery.app.control
    celery.app.events celery.app.log celery.backends.base celery.concurrency.prefork celery.events.dispatcher celery.events.receiver
    celery.worker.autoscale celery.worker.components celery.worker.consumer celery.worker.consumer.delayed_delivery celery.worker.control
    celery.worker.heartbeat celery.worker.loops celery.worker.strategy encodings.idna kombu.asynchronous.hub kombu.mixins
    kombu.transport.redis
"""


@dataclass(frozen=True, slots=True)
class Lane:
    """`processes`: of its pool. `node`: its name in Celery; %h is the host."""

    name: str
    node: str
    queues: tuple[str, ...]
    processes: int


def import_for_lanes(settings: Settings) -> None:
    """Before the fork, so that lanes and their processes share the memory. A name that another version does not have is no harm."""
    import_adapter(settings.storage)
    with suppress(NoSuchEngine):  # each load says so
        engine_for(settings.load.engine)
    if settings.live.kubernetes != "none":
        import_module("shared.live.kubernetes")
    for name in _OF_EVERY_LANE.split():
        with suppress(ModuleNotFoundError):
            import_module(name)
    # What Celery makes of tasks and configuration when it first needs them.
    app.loader.init_worker()
    app.finalize()
    app.connection_for_read()


def lanes(node: str, processes: int, *, light: bool) -> list[Lane]:
    """General processes take loads and steps in turns; the light lane only loads, so that a small session never waits for steps."""
    loads, steps = loads_queue(keyspace), steps_queue(keyspace)
    general = Lane("general", node, (loads, steps), processes)
    if not light:
        return [general]
    before, at, host = node.partition("@")
    return [general, Lane("light", f"{before}-light{at}{host}", (loads,), 1)]


class _LaneWorker(Worker):  # type: ignore[misc]  # Celery has no types
    """A Celery worker that leaves the terminal's signals to its supervisor."""

    def install_platform_tweaks(self, worker: Any) -> None:
        super().install_platform_tweaks(worker)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run(lane: Lane, states: LaneStates, settings: Settings) -> int:
    """Take tasks until SIGTERM (running ones may end) or SIGQUIT (they are handed back). Returns the exit code: 0 only if asked to end."""
    app.set_current()
    worker = _LaneWorker(
        app=app,
        hostname=host_format(default_nodename(lane.node)),
        queues=list(lane.queues),
        concurrency=lane.processes,
        loglevel=mlevel(settings.log.log_level.upper()),
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    watch = LaneWatch(lane.name, states, worker, WarmProcesses(lane.processes, connect))
    worker_process_init.connect(_begin_process, weak=False)
    hand_back_after(settings.worker.worker_grace)
    watch.start()
    WORKER_PROCESSES.set(lane.processes)
    worker.start()
    asked = watch.asked_to_end and not watch.wedged
    if not asked:
        log.error("lane ended by itself", lane=lane.name, wedged=watch.wedged)
    return 0 if asked else worker.exitcode or FAILED


def _begin_process(**_: Any) -> None:
    """A pool's process ends with its parent, and by what that sends it. It is the one that loads."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL)
    use_huge_pages(use=True)
