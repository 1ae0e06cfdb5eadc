"""Celery's signals as metrics and probes: every task by its name and end, and whether this worker takes any."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import (
    heartbeat_sent,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)

from shared.metrics import TASK_SECONDS, TASKS_RUNNING, WORKER_PROCESSES
from shared.settings import WorkerSettings
from workers.own_server import OwnServer, WorkerState

# By task id: one process works on one task at a time, but may be told of the next one's begin first.
_began: dict[str, float] = {}


@task_prerun.connect
def _begin(task_id: str, **_: Any) -> None:
    _began[task_id] = time.monotonic()
    TASKS_RUNNING.set(len(_began))


@task_postrun.connect
def _end(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    began = _began.pop(task_id, None)
    TASKS_RUNNING.set(len(_began))
    if began is not None:
        TASK_SECONDS.labels(task.name, state or "UNKNOWN").observe(time.monotonic() - began)


def serve(settings: WorkerSettings) -> None:
    """Count tasks, and start the worker's own server with the worker, if it has a port. Raises SettingsError for one that is taken."""
    task_prerun.connect(_begin)
    task_postrun.connect(_end)
    if not settings.worker_port:
        return
    state = WorkerState()
    server = OwnServer(settings, state)

    def started(**_: Any) -> None:
        server.start()

    def ready(sender: Any, **_: Any) -> None:
        # The pool's processes: this one only hands tasks to them.
        WORKER_PROCESSES.set(sender.controller.concurrency)
        state.ready()

    worker_init.connect(started, weak=False)
    worker_ready.connect(ready, weak=False)
    heartbeat_sent.connect(lambda **_: state.beat(), weak=False)
    worker_shutting_down.connect(lambda **_: state.ending(), weak=False)
    worker_process_init.connect(lambda **_: server.close_inherited(), weak=False)
