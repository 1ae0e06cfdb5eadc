"""Celery's configuration, the same for who sends and who works."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from shared.broker import CHECK_SESSION, LOAD_SESSION, WORK_ON_LOAD, broker_of, loads_queue, steps_queue
from shared.errors import QueueFull, StoreUnavailable
from shared.sessions import Session
from shared.settings import Settings
from shared.store.keys import Keyspace

# A worker that vanished gives its tasks back after this much more than the longest task.
_VISIBILITY_MARGIN = 300
_SOFT_LIMIT_MARGIN = 30


def make_celery(settings: Settings) -> Celery:
    """The app without tasks. Raises SettingsError for a broker that Celery does not speak.

    There is no result backend: what is done stands in the store.
    """
    load = settings.load
    visibility = int(load.load_time_limit) + _VISIBILITY_MARGIN
    keyspace = Keyspace.of(settings)
    loads, steps = loads_queue(keyspace), steps_queue(keyspace)
    broker = broker_of(settings.redis, visibility)
    app = Celery("ray-history", broker=broker.url, set_as_current=False)
    app.conf.update(
        task_default_queue=loads,
        task_queues=[Queue(loads), Queue(steps)],
        task_routes={WORK_ON_LOAD: {"queue": steps}},
        task_serializer="json",
        accept_content=["json"],
        timezone="UTC",
        broker_use_ssl=broker.tls,
        broker_transport_options=broker.options,
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
        # What Flower and the metrics show.
        task_track_started=True,
        task_send_sent_event=True,
        worker_send_task_events=True,
        # A process that does not begin in time is taken for one that hangs, and killed: beginning is connecting.
        worker_proc_alive_timeout=60.0,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """`taken`: messages that workers have and have not acknowledged; None where the broker does not say (RabbitMQ)."""

    waiting: int
    taken: int | None


class LoadQueue:
    """Sends messages. Each blocks for a round trip or two, and raises StoreUnavailable. What is said twice does no harm."""

    def __init__(self, app: Celery, limit: int = 0) -> None:
        """`limit`: with so many messages waiting no load is sent; 0: always."""
        self._app = app
        self._limit = limit

    def send_load(self, session: Session, generation: str) -> None:
        """The session wants loading, under this claim. Raises QueueFull, too."""
        if self._limit and (waiting := self.depth().waiting) >= self._limit:
            raise QueueFull(f"{waiting} messages wait in the queue (RAY_HISTORY_QUEUE_LIMIT): no further load is started")
        self._send(LOAD_SESSION, session, task_id=f"{session.key}@{generation}", generation=generation)

    def send_check(self, session: Session, snapshot: str) -> None:
        """Does the bucket hold more of this loaded session?"""
        self._send(CHECK_SESSION, session, snapshot=snapshot)

    def send_hand(self, session: Session, generation: str, attempt: int) -> None:
        """This load wants a hand: some worker may take a step of it."""
        self._send(WORK_ON_LOAD, session, generation=generation, attempt=attempt)

    def _send(self, task: str, session: Session, task_id: str | None = None, **about: str | int) -> None:
        try:
            self._app.send_task(
                task,
                kwargs={"session": session.to_dict(), **about},
                task_id=task_id,
                argsrepr="()",
                kwargsrepr=json.dumps({"session": session.key, **about}),
                ignore_result=True,
                retry=False,
            )
        except (OperationalError, OSError) as exc:
            raise StoreUnavailable(f"the queue can't be asked: {exc}") from exc

    def depth(self) -> QueueDepth:
        """How much waits. Raises StoreUnavailable."""
        try:
            with self._app.pool.acquire(block=True) as connection:
                # One that was cut comes back to the pool as closed, and opens no channel.
                connection.ensure_connection(max_retries=1)
                return self._depth_in_redis(connection.default_channel) or self._depth(connection)
        except (OperationalError, OSError, *self._app.pool.connection.connection_errors) as exc:
            raise StoreUnavailable(f"the queue can't be asked: {exc}") from exc

    def _depth_in_redis(self, channel: Any) -> QueueDepth | None:
        """None for another broker. Here each channel connects anew, so the one that the connection keeps is asked."""
        if (unacknowledged := getattr(channel, "unacked_key", None)) is None:
            return None
        # Kombu looks for a queue without its prefix, and never finds it: declaring one tells its length, and writes nothing.
        waiting = sum(int(channel.queue_declare(queue.name).message_count) for queue in self._app.conf.task_queues)
        return QueueDepth(waiting, int(channel.client.hlen(unacknowledged)))

    def _depth(self, connection: Any) -> QueueDepth:
        waiting = 0
        for queue in self._app.conf.task_queues:
            # A channel of its own: RabbitMQ closes it when the queue is not there yet.
            with connection.channel() as channel, suppress(*connection.channel_errors):
                waiting += int(channel.queue_declare(queue.name, passive=True).message_count)
        return QueueDepth(waiting, None)

    def close(self) -> None:
        self._app.close()
