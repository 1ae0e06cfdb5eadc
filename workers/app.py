"""The Celery app of the workers: `celery -A workers.app worker`, or `ray-history worker`."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun

from shared.freed_memory import give_back_above
from shared.logs import set_up_logs
from shared.queue import make_celery
from shared.settings import Settings
from shared.store.keys import Keyspace

# A process that is larger after a task gives back what that freed: peaks of one task after another would add up.
_LARGE = 256 << 20

settings = Settings.from_environment()
keyspace = Keyspace.of(settings)
app: Celery = make_celery(settings)
app.conf.imports = ["workers.tasks"]


@setup_logging.connect
def _logs(**_: Any) -> None:
    set_up_logs(settings.log)


@task_prerun.connect
def _bind(task_id: str, task: Any, kwargs: dict[str, Any], **_: Any) -> None:
    """Every record of a task says which task, session and generation it is about."""
    session = kwargs.get("session") or {}
    named = f"{session.get('namespace')}/{session.get('cluster')}/{session.get('session')}" if session else None
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id, session=named, generation=kwargs.get("generation"))


@task_postrun.connect
def _clean_up(**_: Any) -> None:
    structlog.contextvars.clear_contextvars()
    give_back_above(_LARGE)
