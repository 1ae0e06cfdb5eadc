"""The whole API in the test's own process: a directory as its bucket, a Redis in memory, and a queue that nobody works on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakeredis import FakeAsyncRedis
from fastapi import FastAPI

import api.app
from shared.queue import QueueDepth
from shared.sessions import Session
from shared.settings import (
    ApiSettings,
    AuthSettings,
    LiveSettings,
    LoadSettings,
    LogSettings,
    RedisSettings,
    Settings,
    StorageSettings,
)

SESSION = "session_2026-11-23_19-00-40_785172_1"


@dataclass
class Queue:
    """`sent`: keys of the sessions whose loads were enqueued."""

    sent: list[str] = field(default_factory=list)

    def send_load(self, session: Session, _generation: str) -> None:
        self.sent.append(session.key)

    def send_check(self, session: Session, _snapshot: str) -> None:
        """Nobody looks."""

    def depth(self) -> QueueDepth:
        return QueueDepth(len(self.sent), 0)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class InProcess:
    """`client`: of an address of this machine; `ask` with the headers of a caller."""

    app: FastAPI
    client: httpx.AsyncClient
    queue: Queue
    bucket: Path


def add_session(bucket: Path, namespace: str, cluster: str, session: str = SESSION) -> str:
    """A stored session without events; its reference."""
    marker = bucket / "cluster-metadata" / "raycluster" / f"{namespace}_{cluster}" / session
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_bytes(b"")
    return f"{namespace}/raycluster/{cluster}/{session}"


def made_app(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any] | None = None, live: LiveSettings | None = None, **settings: Any
) -> tuple[FastAPI, Queue]:
    """The app before its start, which may be in another thread. `settings`: of the API; `auth`: of the login."""
    queue = Queue()
    monkeypatch.setattr(api.app, "open_async_redis", lambda _settings: FakeAsyncRedis())
    monkeypatch.setattr(api.app, "make_celery", lambda _settings: None)
    monkeypatch.setattr(api.app, "LoadQueue", lambda _celery, _limit: queue)
    made = Settings(
        StorageSettings(storage=f"file://{bucket}", catalogue_max_age=0),
        RedisSettings(),
        LoadSettings(),
        ApiSettings(**{"dashboard_wait": 0, **settings}),
        LogSettings(),
        live or LiveSettings(),
        auth=AuthSettings(**(auth or {})),
    )
    return api.app.create_app_with(made), queue


@asynccontextmanager
async def in_process(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any] | None = None, live: LiveSettings | None = None, **settings: Any
) -> AsyncIterator[InProcess]:
    """`made_app`, started, and a client of it."""
    app, queue = made_app(bucket, monkeypatch, auth, live, **settings)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234), raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        yield InProcess(app, client, queue, bucket)
