"""A worker's hold on its claim: renewed while it works, with progress and losses recorded, and everything written under its generation."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, cast

import structlog

from shared.errors import StaleGeneration, StoreUnavailable
from shared.sessions import Session
from shared.settings import LoadSettings
from shared.store import keys
from shared.store.claims import WorkerClaims
from shared.store.client import SyncRedis, redis_errors
from shared.store.eviction import Budget
from shared.store.load_status import LOSS, LOSS_COUNT, LOSSES_KEPT

log = structlog.get_logger()

_FLUSH_EVERY = 0.25
_WRITE_BYTES = 4 << 20


class LoadRun:
    """One task's part of a load. Inside `with`, the claim is renewed by a thread; `check` raises StaleGeneration once it is lost."""

    def __init__(self, session: Session, generation: str, redis: SyncRedis, settings: LoadSettings) -> None:
        self.session = session
        self.generation = generation
        self._redis = redis
        self._settings = settings
        self._claims = WorkerClaims(redis, settings)
        self._budget = Budget(redis, self._claims, settings)
        self._lost = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._phase = ""
        self._flushed = 0.0
        self._renewer = threading.Thread(target=self._renew, name="claim-renewal", daemon=True)

    def start(self) -> int:
        """The number of this attempt. Raises StaleGeneration when the claim is another's by now."""
        attempt = self._claims.start(self.session.key, self.generation)
        if not attempt:
            raise StaleGeneration(f"generation {self.generation} of {self.session.key} is not claimed any more")
        return attempt

    def __enter__(self) -> Self:
        self._extend(self._settings.lease)
        self.check()
        self._renewer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done.set()
        self._renewer.join()
        if kind is None and not self._lost.is_set():
            self._flush()

    def check(self) -> None:
        """Raises StaleGeneration once another load, or an eviction, has taken the claim."""
        if self._lost.is_set():
            raise StaleGeneration(f"generation {self.generation} of {self.session.key} is not claimed any more")

    def hand_over(self) -> None:
        """The rest of this load waits in the queue: the claim must outlast the wait."""
        self._extend(self._settings.queue_lease)
        self.check()

    def progress(self, phase: str = "", **counts: int) -> None:
        """Add to the counters of the load status; written every now and then, and at the end."""
        with self._lock:
            self._phase = phase or self._phase
            self._counts.update(counts)
        if phase or time.monotonic() - self._flushed > _FLUSH_EVERY:
            self._flush()

    def loss(self, file: str, code: str, message: str) -> None:
        """Record a file that could not be read, by its key below the storage root."""
        log.warning("event file lost", file=file, code=code, error=message)
        name = keys.progress(self.session.key, self.generation)
        with redis_errors():
            if int(self._redis.hincrby(name, LOSS_COUNT, 1)) <= LOSSES_KEPT:
                self._redis.hset(name, LOSS + file, f"{code}\n{message[:500]}")

    def losses(self) -> tuple[list[tuple[str, str, str]], int]:
        """(file, code, message) of what was lost by any part of this load, and how many there were."""
        with redis_errors():
            raw = cast("dict[bytes, bytes]", self._redis.hgetall(keys.progress(self.session.key, self.generation)))
        found = []
        for name, value in sorted(raw.items()):
            if name.startswith(LOSS.encode()):
                code, _, message = value.decode(errors="replace").partition("\n")
                found.append((name.decode().removeprefix(LOSS), code, message))
        return found, int(raw.get(LOSS_COUNT.encode(), 0))

    def put(self, fields: Mapping[str, bytes]) -> None:
        """Write fields of the snapshot. Raises SnapshotTooLarge before anything is written that does not fit."""
        self.check()
        if fields:
            self._budget.add(self.session.key, self.generation, sum(len(name) + len(data) for name, data in fields.items()))
            self._write(keys.snapshot(self.session.key, self.generation), fields)

    def keep(self, fields: Mapping[str, bytes]) -> None:
        """Write intermediate records of a parallel load, which live as long as the claim."""
        self.check()
        self._write(keys.work(self.session.key, self.generation), fields)

    def kept(self, names: Iterable[str]) -> list[bytes]:
        """Intermediate records that are there, in order. Raises StaleGeneration when they went with the claim."""
        name = keys.work(self.session.key, self.generation)
        with redis_errors():
            found = cast("list[bytes | None]", self._redis.hmget(name, list(names)))
        self.check()
        return [value for value in found if value is not None]

    def forget(self, names: Iterable[str]) -> None:
        """Drop intermediate records that nobody needs any more."""
        with redis_errors():
            self._redis.hdel(keys.work(self.session.key, self.generation), *names)

    def tries(self, step: str) -> int:
        """How often a step of this load was begun, this time included."""
        name = keys.work(self.session.key, self.generation)
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hincrby(name, f"try:{step}", 1)
            pipe.pexpire(name, round(self._settings.queue_lease * 1000))
            return int(pipe.execute()[0])

    def publish(self) -> None:
        """Flip the loaded marker to this generation. Raises StaleGeneration."""
        self._flush()
        former = self._claims.publish(self.session.key, self.generation, complete=not self.losses()[1])
        if former is None:
            self._budget.forget(self.session.key, self.generation)
            raise StaleGeneration(f"generation {self.generation} of {self.session.key} is not claimed any more")
        if former and former != self.generation:
            self._budget.forget(self.session.key, former)
        self._budget.sweep()

    def fail(self, code: str, message: str, *, retryable: bool, retry_after: float) -> None:
        """Record why the load failed, drop what it wrote, give the claim back."""
        if self._claims.fail(self.session.key, self.generation, code, message, retryable=retryable, retry_after=retry_after):
            self._budget.forget(self.session.key, self.generation)

    def _write(self, key: str, fields: Mapping[str, bytes]) -> None:
        lease = round(self._settings.queue_lease * 1000)
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
                pipe.pexpire(key, lease)
                pipe.execute()
            self.check()
            pending, size = {}, 0

    def _flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._flushed = time.monotonic()
            phase = self._phase
        name = keys.progress(self.session.key, self.generation)
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            for field, amount in counts.items():
                if amount:
                    pipe.hincrby(name, field, amount)
            pipe.hset(name, "phase", phase)
            pipe.pexpire(name, round(self._settings.queue_lease * 1000))
            pipe.execute()

    def _renew(self) -> None:
        while not self._done.wait(self._settings.lease_renewal):
            try:
                self._extend(self._settings.lease)
            except StoreUnavailable as exc:
                # Redis may be back before the lease ends; if it is not, the next answer says that the claim is lost.
                log.warning("claim not renewed", error=str(exc))

    def _extend(self, seconds: float) -> None:
        if not self._claims.renew(self.session.key, self.generation, seconds):
            self._lost.set()
