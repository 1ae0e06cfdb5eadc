"""The snapshot of one session that a route reads from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from api.sessions.service import Sessions
from shared.errors import SessionIsLive
from shared.sessions import Session, SessionRef
from shared.settings import Settings
from shared.snapshots.reader import SnapshotReader


@dataclass(frozen=True, slots=True)
class Opened:
    session: Session
    snapshot: SnapshotReader


async def open_session(request: Request, ref: SessionRef) -> Opened | None:
    """None while it is still being loaded after the configured wait. Raises SessionIsLive, and what `Sessions.enter` raises."""
    state = request.app.state
    sessions = cast("Sessions", state.sessions)
    entered = await sessions.enter_loaded(ref, cast("Settings", state.settings).api.dashboard_wait)
    if entered.session is None or entered.cluster is not None:
        raise SessionIsLive("the session runs: its own dashboard shows what it has so far")
    if not entered.generation:
        return None
    await sessions.note_use(entered)
    keys = state.keyspace.session(entered.session.key)
    return Opened(entered.session, SnapshotReader(state.redis, keys, entered.generation, state.cache))
