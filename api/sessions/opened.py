"""The snapshot of one session that a route of our own reads from."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import cast

from fastapi import Request

from api.sessions.service import Entered, Sessions
from api.snapshots.fields import BlockCache
from api.snapshots.reader import SnapshotReader
from shared.errors import SessionIsLive
from shared.sessions import Session, SessionRef
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """Read from `snapshot` inside `reading()` only."""

    session: Session
    snapshot: SnapshotReader
    _entered: Entered
    _sessions: Sessions

    def reading(self) -> AbstractAsyncContextManager[None]:
        """What is found missing is known to the next visit."""
        return self._sessions.reading(self._entered)

    async def note_use(self) -> None:
        """Reading goes on for long: it must not be evicted meanwhile."""
        await self._sessions.note_use(self._entered)


async def open_session(request: Request, ref: SessionRef, cache: BlockCache | None = None) -> Opened | Session:
    """The session alone while it is still being loaded after the configured wait. `cache`: instead of this process' own.

    Raises SessionIsLive, and what `Sessions.enter` raises.
    """
    state = request.app.state
    sessions = cast("Sessions", state.sessions)
    entered = await sessions.enter_loaded(ref, cast("Settings", state.settings).api.dashboard_wait)
    if entered.session is None or entered.cluster is not None:
        raise SessionIsLive("the session runs: its own dashboard shows what it has so far")
    if not entered.generation:
        return entered.session
    keys = state.keyspace.session(entered.session.key)
    snapshot = SnapshotReader(state.redis, keys, entered.generation, state.cache if cache is None else cache)
    await sessions.note_use(entered)
    # Later uses are to be noted by themselves.
    return Opened(entered.session, snapshot, replace(entered, claimed=False), sessions)
