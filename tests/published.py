"""A session loaded by the workers' own code without Redis or a queue, and published in an in-process server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from shared.sessions import Session
from shared.settings import LoadSettings, StorageSettings
from shared.snapshot_format import Warned
from shared.storage.factory import open_storage
from tests.in_process import InProcess
from workers.event_files import list_files
from workers.load import load
from workers.load_run import LoadRun


class MemoryRun:
    """Has the interface of `LoadRun` that a load in one task needs: `fields` is the snapshot."""

    def __init__(self, session: Session, engine: str = "auto") -> None:
        self.session = session
        self.settings = LoadSettings(engine=engine)  # type: ignore[arg-type]
        self.job_index = None
        self.fields: dict[str, bytes] = {}
        self.lost: list[tuple[str, str, str]] = []
        self.event_files = 0

    def check(self) -> None:
        """Nobody takes it away."""

    def progress(self, _phase: str = "", **counts: int) -> None:
        self.event_files += counts.get("files_total", 0)

    def report(self, **said: str) -> None:
        """Nobody polls."""

    def warn(self, warned: Iterable[Warned]) -> None:
        """Nobody polls."""

    def loss(self, file: str, code: str, message: str) -> None:
        self.lost.append((file, code, message))

    def losses(self) -> tuple[list[tuple[str, str, str]], int]:
        return self.lost, len(self.lost)

    def put(self, fields: Mapping[str, bytes]) -> None:
        self.fields |= fields

    def publish_snapshot(self) -> None:
        """The caller does."""


def loaded(bucket: Path, session: Session, engine: str = "auto") -> MemoryRun:
    """A stored session, loaded."""
    run = MemoryRun(session, engine)
    storage = open_storage(StorageSettings(storage=f"file://{bucket}"))
    load(cast("LoadRun", run), storage, list_files(cast("LoadRun", run), storage))
    return run


async def publish(server: InProcess, run: MemoryRun) -> None:
    keys, redis = server.app.state.keyspace.session(run.session.key), server.app.state.redis
    await redis.hset(keys.snapshot("1.1"), mapping=cast("Any", run.fields))
    await redis.set(keys.loaded, "1.1")
    await redis.hset(keys.status, mapping={"state": "loaded", "id": "1.1", "complete": int(not run.lost)})
    await redis.hset(keys.progress("1.1"), mapping={"x": "{}"})
