"""The tasks on the queue. Each does one step of one load, and is safe to run again: everything is written under the generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog
from billiard.exceptions import SoftTimeLimitExceeded
from celery import chord
from celery.canvas import Signature

from shared.errors import HistoryError, KubernetesUnavailable, SessionIsLive, StaleGeneration, StorageUnavailable, StoreUnavailable
from shared.live.factory import open_live
from shared.live.heads import Heads
from shared.live.port import LiveDirectory
from shared.live.resolver import ensure_dead
from shared.metrics import LOADS, QUEUE_WAIT, TAKEOVERS
from shared.sessions import Session
from shared.storage.factory import open_storage
from shared.storage.metered import MeteredStorage
from shared.storage.port import Storage
from shared.store.claims import seconds_since_claim
from shared.store.client import SyncRedis, open_redis
from shared.task_names import LOAD_SESSION, MERGE_ENTITIES, MERGE_RANGE, PARSE_PART, PUBLISH, SUMMARISE
from workers import fan_out
from workers.app import app, settings
from workers.event_files import list_files
from workers.load import load
from workers.load_run import LoadRun

log = structlog.get_logger()

# An outage is likely to be over sooner than a defect.
_RETRY_AFTER_OUTAGE = 5.0
_STEP: dict[str, Any] = {"autoretry_for": (StoreUnavailable,), "retry_backoff": 1, "retry_backoff_max": 10, "max_retries": 5}


@cache
def _redis() -> SyncRedis:
    """Opened in the process that uses it, after the fork."""
    return open_redis(settings.redis)


@cache
def _storage() -> Storage:
    return MeteredStorage(open_storage(settings.storage))


@cache
def _live() -> tuple[LiveDirectory, Heads]:
    return open_live(settings.live)


@app.task(name=LOAD_SESSION, bind=True, ignore_result=True, **_STEP)
def load_session(self: Any, session: dict[str, str | None], generation: str) -> None:
    """The load that a claim is for. A large session goes on as a canvas of the tasks below."""
    run = _new_run(session, generation)
    with _recorded(run):
        attempt = run.start(again=bool(self.request.retries or self.request.delivery_info.get("redelivered")))
        if attempt == 1:
            QUEUE_WAIT.observe(seconds_since_claim(generation))
        else:
            TAKEOVERS.labels("worker").inc()
        if attempt > settings.load.load_attempts:
            run.fail("load_crashed", f"its workers were lost {attempt - 1} times: out of memory?", retryable=True, retry_after=_after())
            return
        with run:
            directory, heads = _live()
            ensure_dead(run.session, directory, heads, settings.live)
            files = list_files(run, _storage())
            plan = fan_out.plan(files, settings.load)
            if plan is None:
                load(run, _storage(), files)
                return
            fan_out.keep_plan(run, plan)
            run.hand_over()
        _canvas(session, generation, plan.parts, plan.ranges).apply_async()


def _canvas(session: dict[str, str | None], generation: str, parts: int, ranges: int) -> Signature:
    """Parse parts, then everything but tasks, then merge ranges, then summaries, then publish."""
    common = {"session": session, "generation": generation, "parts": parts, "ranges": ranges}
    parsing = [parse_part.si(**common, number=number) for number in range(parts)]
    merging = [merge_range.si(**common, number=number) for number in range(ranges)]
    summing = [summarise.si(**common, number=number) for number in range(fan_out.SUMMARISERS)]
    return chord(parsing, merge_entities.si(**common) | chord(merging, chord(summing, publish.si(**common))))


def _step(name: str, work: Callable[..., None]) -> Any:
    """A task for one step: held by the claim, counted, and never a reason for the steps after it to be skipped unseen."""

    @app.task(name=name, **_STEP)
    def step(session: dict[str, str | None], generation: str, parts: int, ranges: int, number: int = 0) -> None:
        run = _new_run(session, generation)
        with _recorded(run), run:
            tries = run.begin_step(f"{name}:{number}")
            if tries is None:
                return
            if tries > settings.load.load_attempts:
                lost = f"the worker of {name} {number} was lost again and again: out of memory?"
                run.fail("load_crashed", lost, retryable=True, retry_after=_after())
                return
            work(run, _storage(), parts, ranges, number)
            if name != PUBLISH:
                run.hand_over()

    return step


parse_part = _step(PARSE_PART, fan_out.parse_part)
merge_entities = _step(MERGE_ENTITIES, fan_out.merge_entities)
merge_range = _step(MERGE_RANGE, fan_out.merge_range)
summarise = _step(SUMMARISE, fan_out.summarise)
publish = _step(PUBLISH, fan_out.publish)


def _new_run(session: dict[str, str | None], generation: str) -> LoadRun:
    return LoadRun(Session.from_dict(session), generation, _redis(), settings.load)


def _after() -> float:
    return settings.load.retry_after_failure


@contextmanager
def _recorded(run: LoadRun) -> Iterator[None]:
    """Whatever ends a load before its time is in its load status. When Redis is away nothing can be: the lease runs out."""
    try:
        yield
    except StaleGeneration as exc:
        log.info("load given up", reason=str(exc))
        LOADS.labels("given_up", "").inc()
    except StoreUnavailable:
        raise
    except (StorageUnavailable, KubernetesUnavailable) as exc:
        log.warning("load failed", code=exc.code, error=str(exc))
        run.fail(exc.code, str(exc), retryable=True, retry_after=min(_RETRY_AFTER_OUTAGE, _after()))
    except SessionIsLive as exc:
        run.fail(exc.code, str(exc), retryable=True, retry_after=0.001)
    except SoftTimeLimitExceeded:
        log.warning("load took too long")
        limit = settings.load.load_time_limit
        run.fail("load_timeout", f"it took longer than {limit:.0f} s (RAY_HISTORY_LOAD_TIME_LIMIT)", retryable=True, retry_after=_after())
    except HistoryError as exc:
        log.warning("load failed", code=exc.code, error=str(exc))
        run.fail(exc.code, str(exc), retryable=exc.retryable, retry_after=_after())
    except Exception as exc:
        # The task's boundary: a defect of ours must end in the status, not in a lease that runs out again and again.
        log.exception("load failed")
        run.fail("internal_error", f"{type(exc).__name__}: {exc}", retryable=False, retry_after=_after())
