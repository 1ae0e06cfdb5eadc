"""Celery's configuration, the same for who sends and who works."""

from __future__ import annotations

import json

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from shared.broker import broker_of
from shared.errors import StoreUnavailable
from shared.sessions import Session
from shared.settings import Settings
from shared.task_names import LOAD_SESSION, LOADS_QUEUE, QUEUES, STEPS, STEPS_QUEUE

# A worker that vanished gives its tasks back after this much more than the longest task.
_VISIBILITY_MARGIN = 300
_SOFT_LIMIT_MARGIN = 30


def make_celery(settings: Settings) -> Celery:
    """The app without tasks. Raises SettingsError for a broker that Celery does not speak."""
    load = settings.load
    visibility = int(load.load_time_limit) + _VISIBILITY_MARGIN
    broker = broker_of(settings.redis, visibility)
    app = Celery("ray-history", broker=broker.url, backend=broker.url if broker.redis else None, set_as_current=False)
    app.conf.update(
        task_default_queue=LOADS_QUEUE,
        task_queues=[Queue(name) for name in QUEUES],
        task_routes={name: {"queue": STEPS_QUEUE} for name in STEPS},
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        timezone="UTC",
        broker_use_ssl=broker.tls,
        redis_backend_use_ssl=broker.tls,
        broker_transport_options=broker.options,
        result_backend_transport_options=broker.options,
        visibility_timeout=visibility,
        broker_connection_retry_on_startup=True,
        # However long the broker is away.
        broker_connection_max_retries=None,
        # A load is acknowledged when it is done; one whose process died goes back, and its attempts are counted per session.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        task_soft_time_limit=max(1.0, load.load_time_limit - _SOFT_LIMIT_MARGIN),
        task_time_limit=load.load_time_limit,
        result_expires=3600,
        # What Flower and the metrics show.
        task_track_started=True,
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class LoadQueue:
    """The API's end of the queue."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, session: Session, generation: str) -> None:
        """Enqueue the load that a claim is for. Blocks for one round trip. Raises StoreUnavailable."""
        try:
            self._app.send_task(
                LOAD_SESSION,
                kwargs={"session": session.to_dict(), "generation": generation},
                task_id=f"{session.key}@{generation}",
                argsrepr="()",
                kwargsrepr=json.dumps({"session": session.key, "generation": generation}),
                ignore_result=True,
                retry=False,
            )
        except (OperationalError, OSError) as exc:
            raise StoreUnavailable(f"the queue can't be asked: {exc}") from exc

    def close(self) -> None:
        self._app.close()
