"""Singleflight over all replicas: who may load a session. The API enters and releases, workers start, renew, publish and fail."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.settings import LoadSettings
from shared.store import keys, scripts
from shared.store.client import redis_errors

Outcome = Literal["loaded", "joined", "claimed", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What entering a session found. `generation`: the published one if loaded. `claimed`: a new generation that must be enqueued.

    `retry_after`: seconds until a failed session may be tried again. `taken_over`: a load was under way, and its lease ran out.
    """

    outcome: Outcome
    generation: str = ""
    claimed: str = ""
    retry_after: float = 0.0
    taken_over: bool = False


class Claims:
    """The API's side. Raises StoreUnavailable."""

    def __init__(self, redis: AsyncRedis, settings: LoadSettings) -> None:
        self._settings = settings
        self._enter = redis.register_script(scripts.ENTER)
        self._release = redis.register_script(scripts.RELEASE)
        self._drop = redis.register_script(scripts.DROP)

    async def enter(self, session_key: str, *, force: bool = False) -> Entry:
        """Find the published generation, join a running load, or claim a new one. Renews what is loaded.

        `force` claims although the session is loaded, or failed and not to be tried yet.
        """
        s = self._settings
        arguments = [_ms(s.snapshot_ttl), _ms(s.queue_lease), s.load_attempts, _ms(s.retry_after_failure), int(force)]
        with redis_errors():
            found = await self._enter([keys.of_session(session_key)], arguments)
        outcome: Any = _text(found[0])
        if outcome == "failed":
            return Entry("failed", retry_after=int(found[1]) / 1000)
        if outcome == "loaded":
            return Entry("loaded", _text(found[1]), _text(found[2]))
        if outcome == "joined":
            return Entry("joined")
        return Entry("claimed", claimed=_text(found[1]), taken_over=bool(_text(found[2])))

    async def release(self, session_key: str, generation: str) -> None:
        """Give a claim back that could not be enqueued."""
        with redis_errors():
            await self._release([keys.of_session(session_key)], [generation])

    async def drop(self, session_key: str) -> str:
        """Drop whatever Redis holds of a session; a running load stops. Returns the generation that was published, or ""."""
        with redis_errors():
            return _text(await self._drop([keys.of_session(session_key)], ["", 0]))


class WorkerClaims:
    """The workers' side: every call compares the generation with the claim. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, settings: LoadSettings) -> None:
        self._settings = settings
        # Attempts count for as long as a claim may outlast its worker, and for somebody to come after it.
        self._remembered_ms = _ms(max(settings.retry_after_failure, 2 * settings.queue_lease) + settings.lease * settings.load_attempts)
        self._start = redis.register_script(scripts.START)
        self._renew = redis.register_script(scripts.RENEW)
        self._publish = redis.register_script(scripts.PUBLISH)
        self._fail = redis.register_script(scripts.FAIL)
        self._drop = redis.register_script(scripts.DROP)

    def start(self, session_key: str, generation: str, *, again: bool = False) -> int:
        """The number of this attempt, from 1; 0 when the claim is lost, or when the load goes on elsewhere.

        `again`: this very message was begun before, by a worker that was lost or to whom Redis was.
        """
        arguments: list[str | int] = [generation, _ms(self._settings.lease), self._remembered_ms, int(again)]
        with redis_errors():
            return int(self._start([keys.of_session(session_key)], arguments))

    def renew(self, session_key: str, generation: str, seconds: float) -> bool:
        """Make the claim, and what was written under it, last `seconds` from now. False when the claim is lost."""
        with redis_errors():
            return bool(self._renew([keys.of_session(session_key)], [generation, _ms(seconds), self._remembered_ms]))

    def publish(self, session_key: str, generation: str, *, complete: bool) -> str | None:
        """Flip the loaded marker. The former generation ("" if none), which stays readable for a while; None when the claim is lost."""
        s = self._settings
        arguments: list[str | int] = [generation, _ms(s.snapshot_ttl), _ms(s.snapshot_grace), int(complete), _ms(s.retry_partial_after)]
        with redis_errors():
            found = self._publish([keys.of_session(session_key)], arguments)
        return _text(found[1]) if int(found[0]) else None

    def fail(self, session_key: str, generation: str, code: str, message: str, *, retryable: bool, retry_after: float) -> bool:
        """Record why a load failed and give the claim back. False when the claim is lost."""
        arguments: list[str | int] = [generation, code, message, int(retryable), _ms(retry_after), _ms(self._settings.snapshot_ttl)]
        with redis_errors():
            return bool(self._fail([keys.of_session(session_key)], arguments))

    def drop(self, session_key: str, generation: str) -> None:
        """Drop one generation, published or not."""
        with redis_errors():
            self._drop([keys.of_session(session_key)], [generation, _ms(self._settings.snapshot_ttl)])


def seconds_since_claim(generation: str) -> float:
    """A generation is the time of its claim on Redis' clock, in microseconds; for metrics, since clocks differ a little."""
    return max(0.0, time.time() - int(generation) / 1e6)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
