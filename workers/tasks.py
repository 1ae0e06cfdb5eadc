"""The tasks on the queue. Each may come twice, or never: what is to be done stands in Redis, and a message only says that something is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog
from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Retry

from shared.broker import CHECK_SESSION, LOAD_SESSION, WORK_ON_LOAD
from shared.errors import (
    HistoryError,
    KubernetesUnavailable,
    RecordMissing,
    SessionDeleted,
    SessionIsLive,
    StaleGeneration,
    StorageUnavailable,
    StoreFull,
    StoreUnavailable,
)
from shared.live.factory import open_live
from shared.live.heads import Heads
from shared.live.port import LiveDirectory
from shared.metrics import LOADS, QUEUE_WAIT, TAKEOVERS
from shared.queue import LoadQueue
from shared.sessions import Session
from shared.storage.factory import open_storage
from shared.storage.metered import MeteredStorage
from shared.storage.port import Storage
from shared.store.client import SyncRedis, open_redis, redis_errors
from shared.store.job_index import JobIndex
from shared.store.protocol.ledger import Step
from workers import fan_out
from workers.app import app, keyspace, settings
from workers.event_files import list_files
from workers.freshness import check
from workers.load import load
from workers.load_run import Listing, LoadRun, seconds_since_claim

log = structlog.get_logger()

# An outage is likely to be over sooner than a defect.
_RETRY_AFTER_OUTAGE = 5.0
# While Redis is away, a message is sent again for about a minute. Then, or if that fails, the next visit sends one.
_RETRIES: dict[str, Any] = {"bind": True, "ignore_result": True, "max_retries": 6}
_LONGEST_RETRY = 10


@cache
def _redis() -> SyncRedis:
    """Opened in the process that uses it, after the fork."""
    return open_redis(settings.redis)


@cache
def _storage() -> Storage:
    return MeteredStorage(open_storage(settings.storage))


@cache
def _live() -> tuple[LiveDirectory, Heads]:
    return open_live(settings.live, _storage())


@cache
def _queue() -> LoadQueue:
    return LoadQueue(app)


def connect() -> None:
    """What every task needs, made and connected. Raises StorageUnavailable, StoreUnavailable."""
    with redis_errors():
        _redis().ping()
    _storage().prepare()


@app.task(name=LOAD_SESSION, **_RETRIES)
def load_session(self: Any, session: dict[str, str | None], generation: str) -> None:
    """The load that a claim is for. A small session is loaded here, a large one goes on as steps."""
    run = _new_run(session, generation)
    with _recorded(self, run):
        begun, attempt = run.begin(redelivered=_redelivered(self))
        if begun == "planned":
            _queue().send_hand(run.session, generation, attempt)
        if begun != "begun":
            log.info("nothing to begin", found=begun)
            return
        if attempt == 1:
            QUEUE_WAIT.observe(seconds_since_claim(generation))
        else:
            TAKEOVERS.labels("worker").inc()
        with run:
            _ensure_dead(run.session)
            looked_at = time.time()
            files = list_files(run, _storage())
            run.listing = Listing(files.digest(), round(looked_at * 1000))
            plan = fan_out.plan(files, settings.load)
            if plan is None:
                load(run, _storage(), files)
                return
            fan_out.write_plan(run, plan)
            run.plan(plan.phases)
        _queue().send_hand(run.session, generation, attempt)


@app.task(name=WORK_ON_LOAD, **_RETRIES)
def work_on_load(self: Any, session: dict[str, str | None], generation: str, attempt: int) -> None:
    """One step of a large load. While more of them wait, one message of this load waits at the end of the queue: loads take turns."""
    run = _new_run(session, generation)
    with _recorded(self, run):
        step = run.take_step(attempt, self.request.id, redelivered=_redelivered(self))
        if not isinstance(step, Step):
            return
        if step.tries > settings.load.load_attempts:
            lost = f"the worker of step {step.name} was lost {step.tries - 1} times: out of memory?"
            run.fail("load_crashed", lost, retryable=True, retry_after=settings.load.retry_after_failure)
            return
        if step.others:
            _queue().send_hand(run.session, generation, attempt)
        with run:
            fan_out.do_step(run, _storage(), step)
            if step.phase == fan_out.PUBLISH:
                return
            opened = run.complete_step()
        if opened:
            _queue().send_hand(run.session, generation, attempt)


@app.task(name=CHECK_SESSION, **_RETRIES)
def check_session(self: Any, session: dict[str, str | None], snapshot: str) -> None:  # noqa: ARG001 - Celery's own
    """Load a session anew in the background if the bucket holds more of it than its snapshot was made of."""
    found = Session.from_dict(session)
    try:
        generation = check(_redis(), keyspace, settings.load, _storage(), found, snapshot)
        if generation:
            _queue().send_load(found, generation)
    except (StorageUnavailable, StoreUnavailable) as exc:
        log.warning("not checked", error=str(exc))


def _ensure_dead(session: Session) -> None:
    """Raises SessionIsLive, or KubernetesUnavailable when it cannot be known."""
    directory, heads = _live()
    if directory.enabled:
        # Imported here: where no clusters run nothing of it is needed.
        from shared.live.resolver import ensure_dead  # noqa: PLC0415

        ensure_dead(session, directory, heads, settings.live)


def _redelivered(task: Any) -> bool:
    """Was this very message begun before, by a worker that was lost or to whom Redis was?"""
    return bool(task.request.retries or task.request.delivery_info.get("redelivered"))


def _new_run(session: dict[str, str | None], generation: str) -> LoadRun:
    job_index = JobIndex(_redis(), keyspace) if settings.jobs.job_index else None
    return LoadRun(Session.from_dict(session), generation, _redis(), keyspace, settings.load, job_index)


@contextmanager
def _recorded(task: Any, run: LoadRun) -> Iterator[None]:
    """Whatever ends a load before its time is in its load status. When Redis is away nothing can be: the message is sent again later."""
    after = settings.load.retry_after_failure
    try:
        try:
            yield
        except StoreFull as exc:
            log.warning("load failed", code=exc.code, error=str(exc))
            # Only what frees memory is needed to say so, and Redis allows that.
            run.fail(exc.code, str(exc), retryable=True, retry_after=min(_RETRY_AFTER_OUTAGE, after))
        except (StaleGeneration, StoreUnavailable):
            raise
        except (StorageUnavailable, KubernetesUnavailable, RecordMissing, SessionDeleted) as exc:
            log.warning("load failed", code=exc.code, error=str(exc))
            run.fail(exc.code, str(exc), retryable=True, retry_after=min(_RETRY_AFTER_OUTAGE, after))
        except SessionIsLive as exc:
            run.fail(exc.code, str(exc), retryable=True, retry_after=0.001)
        except SoftTimeLimitExceeded:
            log.warning("load took too long")
            limit = settings.load.load_time_limit
            run.fail("load_timeout", f"it took longer than {limit:.0f} s (RAY_HISTORY_LOAD_TIME_LIMIT)", retryable=True, retry_after=after)
        except HistoryError as exc:
            log.warning("load failed", code=exc.code, error=str(exc))
            run.fail(exc.code, str(exc), retryable=exc.retryable, retry_after=after)
        except Exception as exc:
            # The task's boundary: a defect of ours must end in the status, not in a lease that runs out again and again.
            log.exception("load failed")
            run.fail("internal_error", f"{type(exc).__name__}: {exc}", retryable=False, retry_after=after)
    except StaleGeneration as exc:
        log.info("load given up", reason=str(exc))
        LOADS.labels("given_up", "").inc()
    except StoreUnavailable as exc:
        log.warning("Redis is away", error=str(exc))
        _try_again(task)


def _try_again(task: Any) -> None:
    try:
        task.retry(countdown=min(2**task.request.retries, _LONGEST_RETRY))
    except Retry:
        raise
    except Exception as exc:  # noqa: BLE001 - the broker is away, too, or it was tried often enough
        log.warning("left to the next visit", error=str(exc))
