"""Celery's signals as metrics: every task by its name and end."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import task_postrun, task_prerun

from shared.metrics import TASK_SECONDS, TASKS_RUNNING

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
