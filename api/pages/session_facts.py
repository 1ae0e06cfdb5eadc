"""What is told above the dashboard of a loaded session: which it is, when it ran and how it ended, what is missing, what still ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec

from api.sessions.service import Sessions
from api.snapshots.reader import SnapshotReader
from shared.errors import StorageUnavailable
from shared.sessions import Session, SessionRef
from shared.snapshot_format import TALLIED

_ENDED_TASKS = ("FINISHED", "FAILED", "NIL")
_ENDED_JOBS = ("SUCCEEDED", "FAILED", "STOPPED")


class SessionEnd(msgspec.Struct):
    """The document `session/end` (`workers/entities/ends.py`). Times in ms since the epoch."""

    start_ms: int
    end_ms: int
    in_order: bool
    nodes_alive: int


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """`losses`: (file, message) of what could not be read. `running`: how many of what had not ended when the cluster went away."""

    ref: SessionRef
    cluster: str
    ray_version: str | None = None
    end: SessionEnd | None = None
    continued: bool = False
    losses: Sequence[tuple[str, str]] = ()
    loss_count: int = 0
    running: dict[str, int] = field(default_factory=dict)

    @property
    def how_ended(self) -> str:
        """As far as anybody was left to say it."""
        if self.end is not None and self.end.in_order:
            return "shut down in order"
        alive = self.end.nodes_alive if self.end else 0
        nodes = f" with {counted(alive, 'node')} alive" if alive else ""
        if self.continued:
            return f"head lost{nodes}; the cluster went on in a later session"
        return f"cluster deleted or head lost{nodes}"


def counted(count: int, what: str) -> str:
    """Such as `2 nodes`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


async def session_facts(state: Any, ref: SessionRef) -> SessionFacts | None:
    """Of the published generation; None while it is loaded. `state` is the app's. Raises HistoryError."""
    sessions: Sessions = state.sessions
    entered = await sessions.enter(ref)
    if entered.session is None or not entered.generation:
        return None
    snapshot = SnapshotReader(state.redis, state.keyspace.session(entered.session.key), entered.generation, state.cache)
    async with sessions.reading(entered):
        return await facts_of(snapshot, entered.session, sessions)


async def facts_of(snapshot: SnapshotReader, session: Session, sessions: Sessions) -> SessionFacts:
    """The same of a snapshot that the caller has open."""
    meta = await snapshot.meta()
    end = await snapshot.doc("session/end")
    return SessionFacts(
        ref=session.ref,
        cluster=session.cluster,
        ray_version=meta.ray_version,
        end=msgspec.json.decode(end, type=SessionEnd) if end else None,
        continued=await _continued(sessions, session),
        losses=[(file, message) for file, _, message in meta.losses],
        loss_count=meta.loss_count,
        running=await _running(snapshot),
    )


async def _continued(sessions: Sessions, session: Session) -> bool:
    """Has the same cluster a later session? Its head was restarted then. Not known while the storage can't be asked."""
    try:
        stored = await anyio.to_thread.run_sync(sessions.catalogue.sessions)
    except StorageUnavailable:
        return False
    cluster = [other for other in stored if (other.namespace, other.cluster) == (session.namespace, session.cluster)]
    # Newest first, and with the zones of their heads, which a session that was entered before may not have yet.
    return bool(cluster) and cluster[0].session != session.session and session in cluster


async def _running(snapshot: SnapshotReader) -> dict[str, int]:
    """From what is counted or coded already: no row is read."""
    tables = (await snapshot.meta()).tables
    counts: dict[str, int] = {}
    if "jobs" in tables:
        states = await snapshot.table("jobs").column_counts(["status"])
        counts["job"] = sum(count for (status,), count in states.items() if status not in _ENDED_JOBS)
    if "tasks" in tables:
        state = TALLIED.index("state")
        counts["task"] = sum(count for values, count in tables["tasks"].tally if values[state] not in _ENDED_TASKS)
    if "actors" in tables:
        states = await snapshot.table("actors").column_counts(["state"])
        counts["actor"] = sum(count for (actor_state,), count in states.items() if actor_state != "DEAD")
    return {what: count for what, count in counts.items() if count}
