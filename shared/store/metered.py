"""redis-py's clients, with every round trip counted and timed by its command; a pipeline is one."""

from __future__ import annotations

import time
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline
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
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _MeteredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _MeteredAsyncPipeline(AsyncPipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with _Timed(_PIPELINE):
            return await super().execute(raise_on_error)


class MeteredAsyncRedis(AsyncRedis):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _Timed(args[0]):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncPipeline:
        return _MeteredAsyncPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
