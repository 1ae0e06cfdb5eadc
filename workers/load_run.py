"""A worker's hold on its claim: renewed while it works, with progress and losses recorded, and everything written under its generation."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, cast

import structlog

from shared.errors import StaleGeneration, StorageUnavailable, StoreUnavailable
from shared.metrics import LOAD_SECONDS, LOADS, SNAPSHOT_WRITTEN, count_failed
from shared.sessions import Session
from shared.settings import LoadSettings
from shared.snapshots.format import Warned
from shared.store import keys
from shared.store.claims import WorkerClaims, seconds_since_claim
from shared.store.client import SyncRedis, redis_errors
from shared.store.eviction import Budget
from workers.progress import Progress

log = structlog.get_logger()

_WRITE_BYTES = 4 << 20
_HANDED_OVER = "handed_over"


class LoadRun:
    """One task's part of a load. Inside `with`, the claim is renewed by a thread; `check` raises StaleGeneration once it is lost."""

    def __init__(self, session: Session, generation: str, redis: SyncRedis, settings: LoadSettings) -> None:
        self.session = session
        self.generation = generation
        self._redis = redis
        self.settings = settings
        self._ttl_ms = round(settings.queue_lease * 1000)
        self._claims = WorkerClaims(redis, settings)
        self._budget = Budget(redis, self._claims, settings)
        self._progress = Progress(redis, session, generation, self._ttl_ms)
        self._work = keys.work(session.key, generation)
        self._step = ""
        self._forgotten: list[str] = []
        self._lost = threading.Event()
        self._done = threading.Event()
        self._ended = False
        self._renewer = threading.Thread(target=self._renew, name="claim-renewal", daemon=True)

    def start(self, *, again: bool = False) -> int:
        """Begin the load: the number of this attempt. Whatever an earlier attempt under this generation left is dropped.

        `again`: the queue says that this very task was begun before. Raises StaleGeneration when the claim is another's by now,
        or the load goes on elsewhere.
        """
        attempt = self._claims.start(self.session.key, self.generation, again=again)
        if not attempt:
            raise self._stale()
        self._budget.forget(self.session.key, self.generation)
        return attempt

    def begin_step(self, step: str) -> int | None:
        """How often a step of this load was begun, this time included; None if it is done. What earlier tries counted is taken back."""
        self._step = step
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hexists(self._work, f"done:{step}")
            pipe.hincrby(self._work, f"try:{step}", 1)
            pipe.hget(self._work, f"size:{step}")
            pipe.hdel(self._work, f"size:{step}")
            pipe.pexpire(self._work, self._ttl_ms)
            done, tries, size, *_ = pipe.execute()
        if done:
            return None
        if size:
            self._budget.give_back(self.session.key, self.generation, int(size))
        self._progress.begin_step(step)
        return int(tries)

    def __enter__(self) -> Self:
        self._extend(self.settings.lease)
        self.check()
        self._renewer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done.set()
        self._renewer.join()
        self._progress.end_phase()
        if kind is None and not self._ended and not self._lost.is_set():
            self._progress.flush()

    def check(self) -> None:
        """Raises StaleGeneration once another load, or an eviction, has taken the claim."""
        if self._lost.is_set():
            raise self._stale()

    def hand_over(self) -> None:
        """The rest of this load waits in the queue: the claim must outlast the wait. This task, should it run again, does nothing more."""
        self._progress.flush()
        self._extend(self.settings.queue_lease)
        self.check()
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            if self._forgotten:
                pipe.hdel(self._work, *self._forgotten)
            pipe.hset(self._work, f"done:{self._step}" if self._step else _HANDED_OVER, 1)
            pipe.pexpire(self._work, self._ttl_ms)
            pipe.execute()

    def progress(self, phase: str = "", **counts: int) -> None:
        """Add to the counters of the load status."""
        self._progress.add(phase, counts)

    def loss(self, file: str, code: str, message: str) -> None:
        """Record a file that could not be read, by its key below the storage root."""
        self._progress.lose(file, code, message)

    def report(self, **fields: str) -> None:
        """Say something of the load as a whole in its status; said again, it replaces what was said."""
        self._progress.report(fields)

    def warn(self, warned: Iterable[Warned]) -> None:
        """Say in the load status what this session's snapshot lacks though nothing was lost."""
        self._progress.warn(warned)

    @property
    def event_files(self) -> int:
        """How many there are, by what any part of this load counted."""
        return self._progress.counted("files_total")

    def losses(self) -> tuple[list[tuple[str, str, str]], int]:
        """(file, code, message) of what was lost by any part of this load, and how many there were."""
        return self._progress.losses()

    def put(self, fields: Mapping[str, bytes]) -> None:
        """Write fields of the snapshot. Raises SnapshotTooLarge or NoRoom before anything is written that does not fit."""
        self.check()
        if fields:
            size = sum(len(name) + len(data) for name, data in fields.items())
            self._budget.add(self.session.key, self.generation, size)
            SNAPSHOT_WRITTEN.inc(size)
            if self._step:
                with redis_errors():
                    pipe = self._redis.pipeline(transaction=True)
                    pipe.hincrby(self._work, f"size:{self._step}", size)
                    pipe.pexpire(self._work, self._ttl_ms)
                    pipe.execute()
            self._write(keys.snapshot(self.session.key, self.generation), fields)

    def keep(self, fields: Mapping[str, bytes]) -> None:
        """Write intermediate records of a parallel load, which live as long as the claim."""
        self.check()
        self._write(self._work, fields)

    def kept(self, names: Iterable[str]) -> list[bytes]:
        """Intermediate records that are there, in order. Raises StaleGeneration when they went with the claim."""
        with redis_errors():
            found = cast("list[bytes | None]", self._redis.hmget(self._work, list(names)))
        self.check()
        return [value for value in found if value is not None]

    def forget(self, names: Iterable[str]) -> None:
        """Drop intermediate records that nobody needs any more, once this step is done: it may have to be done again."""
        self._forgotten += names

    def publish(self) -> None:
        """Flip the loaded marker to this generation. Raises StaleGeneration, and StorageUnavailable if no event file could be read:
        an outage is no empty session.
        """
        self._progress.flush()
        losses, count = self._progress.losses()
        unread = self._progress.counted("files_failed") and not self._progress.counted("files_read")
        if unread and losses and all(code == StorageUnavailable.code for _, code, _ in losses):
            raise StorageUnavailable(f"none of its event files could be read: {losses[0][2]}")
        self._ended = True
        former = self._claims.publish(self.session.key, self.generation, complete=not count)
        if former is None:
            self._budget.forget(self.session.key, self.generation)
            raise self._stale()
        LOADS.labels("partial" if count else "complete", "").inc()
        LOAD_SECONDS.observe(seconds_since_claim(self.generation))
        if former and former != self.generation:
            self._budget.forget(self.session.key, former)
        self._budget.sweep()

    def fail(self, code: str, message: str, *, retryable: bool, retry_after: float) -> None:
        """Record why the load failed, drop what it wrote, give the claim back."""
        self._ended = True
        if self._claims.fail(self.session.key, self.generation, code, message, retryable=retryable, retry_after=retry_after):
            self._budget.forget(self.session.key, self.generation)
            count_failed(code)

    def _write(self, key: str, fields: Mapping[str, bytes]) -> None:
        pending: dict[str, bytes] = {}
        size = 0
        for at, (name, data) in enumerate(fields.items(), 1):
            pending[name] = data
            size += len(data)
            if size < _WRITE_BYTES and at < len(fields):
                continue
            with redis_errors():
                # One transaction: a key never stands without its TTL.
                pipe = self._redis.pipeline(transaction=True)
                pipe.hset(key, mapping=cast("Any", pending))
                pipe.pexpire(key, self._ttl_ms)
                pipe.execute()
            self.check()
            pending, size = {}, 0

    def _renew(self) -> None:
        while not self._done.wait(self.settings.lease_renewal):
            try:
                self._extend(self.settings.lease)
            except StoreUnavailable as exc:
                # Redis may be back before the lease ends; if it is not, the next answer says that the claim is lost.
                log.warning("claim not renewed", error=str(exc))

    def _extend(self, seconds: float) -> None:
        if not self._claims.renew(self.session.key, self.generation, seconds):
            self._lost.set()

    def _stale(self) -> StaleGeneration:
        return StaleGeneration(f"generation {self.generation} of {self.session.key} is not claimed any more")
