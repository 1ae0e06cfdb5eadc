"""What a load reports while it runs: counters and losses, in one hash of its generation. Several tasks of one load add to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import structlog

from shared.metrics import LOST_FILES, PHASE_SECONDS, count_progress
from shared.sessions import Session
from shared.snapshots.format import Warned
from shared.store import keys
from shared.store.client import SyncRedis, redis_errors
from shared.store.load_status import LOSS, LOSS_COUNT, LOSSES_KEPT, PROGRESS_FIELDS, WARNINGS

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode

_FLUSH_EVERY = 0.25
_COUNTED = (*PROGRESS_FIELDS, "events_skipped")


class Progress:
    """One task's share of it. Every write renews the hash's TTL of `ttl_ms`. Raises StoreUnavailable."""

    def __init__(self, redis: SyncRedis, session: Session, generation: str, ttl_ms: int) -> None:
        self._redis = redis
        self._name = keys.progress(session.key, generation)
        self._journal = keys.work(session.key, generation)
        self._ttl_ms = ttl_ms
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._phase = ""
        self._phase_began = 0.0
        self._flushed = 0.0
        self._step = ""

    def begin_step(self, step: str) -> None:
        """From now on keep account of what this step counts; what earlier tries of it, whose worker was lost, had counted is taken back."""
        self._step = step
        fields = [f"counted:{step}:{name}" for name in _COUNTED]
        with redis_errors():
            former = cast("list[bytes | None]", self._redis.hmget(self._journal, fields))
            pipe = self._redis.pipeline(transaction=True)
            pipe.hdel(self._journal, *fields)
            for name, counted in zip(_COUNTED, former, strict=True):
                if counted:
                    pipe.hincrby(self._name, name, -int(counted))
            pipe.pexpire(self._name, self._ttl_ms)
            pipe.execute()

    def add(self, phase: str, counts: dict[str, int]) -> None:
        """Add to the counters; written every now and then, and by `flush`."""
        count_progress(counts)
        if phase:
            self.end_phase()
        with self._lock:
            self._phase = phase or self._phase
            self._counts.update(counts)
        if phase or time.monotonic() - self._flushed > _FLUSH_EVERY:
            self.flush()

    def end_phase(self) -> None:
        """What follows is another phase, or not of this task."""
        if self._phase and self._phase_began:
            PHASE_SECONDS.labels(self._phase).observe(time.monotonic() - self._phase_began)
        self._phase_began = time.monotonic()

    def flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._flushed = time.monotonic()
            phase = self._phase
        with redis_errors():
            # One transaction: a key never stands without its TTL.
            pipe = self._redis.pipeline(transaction=True)
            for field, amount in counts.items():
                if amount:
                    pipe.hincrby(self._name, field, amount)
                    if self._step:
                        pipe.hincrby(self._journal, f"counted:{self._step}:{field}", amount)
            if phase:
                pipe.hset(self._name, "phase", phase)
            pipe.pexpire(self._name, self._ttl_ms)
            pipe.pexpire(self._journal, self._ttl_ms)
            pipe.execute()

    def warn(self, warned: Iterable[Warned]) -> None:
        """What the load status says besides losses; a later call replaces it."""
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._name, WARNINGS, _encode([(one.code, one.message) for one in warned]))
            pipe.pexpire(self._name, self._ttl_ms)
            pipe.execute()

    def lose(self, file: str, code: str, message: str) -> None:
        """Record a file that could not be read, by its key below the storage root."""
        log.warning("event file lost", file=file, code=code, error=message)
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hsetnx(self._name, LOSS + file, f"{code}\n{message[:500]}")
            pipe.pexpire(self._name, self._ttl_ms)
            if not pipe.execute()[0]:
                return  # by an earlier try
            LOST_FILES.labels(code).inc()
            pipe = self._redis.pipeline(transaction=True)
            pipe.hincrby(self._name, LOSS_COUNT, 1)
            pipe.pexpire(self._name, self._ttl_ms)
            if int(pipe.execute()[0]) > LOSSES_KEPT:
                self._redis.hdel(self._name, LOSS + file)

    def report(self, fields: dict[str, str]) -> None:
        with redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._name, mapping=cast("Any", fields))
            pipe.pexpire(self._name, self._ttl_ms)
            pipe.execute()

    def losses(self) -> tuple[list[tuple[str, str, str]], int]:
        """(file, code, message) of what was lost by any task of this load, and how many there were."""
        raw = self._stored()
        found = []
        for name, value in sorted(raw.items()):
            if name.startswith(LOSS):
                code, _, message = value.partition("\n")
                found.append((name.removeprefix(LOSS), code, message))
        return found, int(raw.get(LOSS_COUNT, 0))

    def counted(self, field: str) -> int:
        """One counter over all tasks of this load, as far as it is written."""
        return int(self._stored().get(field, 0))

    def _stored(self) -> dict[str, str]:
        with redis_errors():
            raw = cast("dict[bytes, bytes]", self._redis.hgetall(self._name))
        return {name.decode(): value.decode(errors="replace") for name, value in raw.items()}
