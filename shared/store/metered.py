"""redis-py's clients, with every round trip counted and timed by its command; a pipeline is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.asyncio.cluster import ClusterPipeline as AsyncClusterPipeline
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.client import Pipeline
from redis.cluster import ClusterPipeline, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from shared.metrics import REDIS_SECONDS

_PIPELINE = "PIPELINE"


class _Timed:
    """A round trip. A script that the server does not know yet is sent along at once: no failure."""

    __slots__ = ("_began", "_command")

    def __init__(self, command: Any) -> None:
        self._command = command if isinstance(command, str) else "OTHER"
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        result = "ok" if kind is None or issubclass(kind, NoScriptError) else "failed"
        REDIS_SECONDS.labels(self._command, result).observe(time.perf_counter() - self._began)


class _MeteredPipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        with _Timed(_PIPELINE):
            return super().execute(raise_on_error)


class MeteredRedis(Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        with _Timed(args[0]):
            return super().execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _MeteredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _MeteredAsyncPipeline(AsyncPipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with _Timed(_PIPELINE):
            return await super().execute(raise_on_error)


class MeteredAsyncRedis(AsyncRedis):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _Timed(args[0]):
            return await super().execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncPipeline:
        return _MeteredAsyncPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class MeteredRedisCluster(RedisCluster):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        with _Timed(args[0]):
            return super().execute_command(*args, **options)

    def pipeline(self, transaction: bool | None = None, shard_hint: None = None) -> ClusterPipeline:
        pipe = super().pipeline(transaction or None, shard_hint)
        execute = pipe.execute

        def timed(raise_on_error: bool = True) -> list[Any]:
            with _Timed(_PIPELINE):
                found: list[Any] = execute(raise_on_error)
            return found

        pipe.execute = timed
        return pipe  # type: ignore[no-any-return]


class _MeteredAsyncClusterPipeline(AsyncClusterPipeline):
    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        async with self.cluster_client.turn():  # type: ignore[attr-defined]
            with _Timed(_PIPELINE):
                return await super().execute(raise_on_error, allow_redirections)


_has_turn: ContextVar[bool] = ContextVar("has_turn", default=False)


class MeteredAsyncRedisCluster(AsyncRedisCluster):
    """Its nodes' pools fail when all of their connections are taken: here calls wait for their turn before that.

    A pipeline sends single commands again when slots have moved: they are part of its turn.
    """

    def __init__(self, *, max_connections: int, socket_timeout: float, **options: Any) -> None:
        super().__init__(max_connections=max_connections, socket_timeout=socket_timeout, **options)
        self._turns = asyncio.Semaphore(max_connections)
        self._wait = socket_timeout

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if _has_turn.get():
            yield
            return
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.acquire()
        except TimeoutError as exc:
            raise RedisConnectionError("No connection available.") from exc
        token = _has_turn.set(True)
        try:
            yield
        finally:
            _has_turn.reset(token)
            self._turns.release()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with self.turn():
            with _Timed(args[0]):
                return await super().execute_command(*args, **options)

    def pipeline(self, transaction: bool | None = None, shard_hint: None = None) -> AsyncClusterPipeline:  # noqa: ARG002
        return _MeteredAsyncClusterPipeline(self, transaction or None)  # type: ignore[abstract]  # redis-py's own has no _event_dispatcher
