"""The load status: the record that clients poll, made from what Redis holds of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from shared.sessions import Session
from shared.store.client import redis_errors
from shared.store.keys import SessionKeys
from shared.store.load_report import PROGRESS_FIELDS, read_reports

FINAL = frozenset({"absent", "loaded", "failed", "live"})


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """`record` is what clients get; `asleep`: nobody works on the load that was claimed, so whoever asks must visit."""

    record: dict[str, Any]
    asleep: bool = False

    @property
    def state(self) -> str:
        return str(self.record["state"])

    @property
    def final(self) -> bool:
        return self.state in FINAL


# On the clock of the session's own server, also in a Cluster.
_TIME = "return redis.call('TIME')"


async def read_status(redis: Redis, keys: SessionKeys, session: Session, lease: float) -> LoadStatus:
    """`lease` in seconds: a load that nobody worked on for so long is asleep. Raises StoreUnavailable."""
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            # In this order: a load that is published in between is seen as loaded.
            pipe.hgetall(keys.load)
            pipe.get(keys.claim)
            pipe.get(keys.loaded)
            pipe.pttl(keys.loaded)
            pipe.eval(_TIME, 1, keys.claim)
            pipe.hgetall(keys.status)
            raw_load, claim, loaded, ttl, clock, raw_ended = await pipe.execute()
        ended, load = _texts(raw_ended), _texts(raw_load)
        now = int(clock[0]) * 1000 + int(clock[1]) // 1000
        running = claim is not None and load.get("generation") == claim.decode()
        if loaded:
            state, snapshot, told = "loaded", ended.get("id", "") if ended.get("state") == "loaded" else "", ended
        elif running:
            state, snapshot, told = "loading" if load["attempt"] != "0" else "queued", f"{load['generation']}.{load['attempt']}", load
        else:
            state, snapshot, told = ended.get("state", "absent"), ended.get("id", ""), ended
        async with redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.progress(snapshot))
            pipe.exists(keys.snapshot(snapshot))
            progress, there = await pipe.execute()
    asleep = running and (int(load.get("beat", 0)) + lease * 1000 <= now or int(load.get("wake", now + 1)) <= now)
    # What Redis has evicted of it is seen by the next visit, which loads it anew.
    if state == "loaded" and not (there and progress):
        return LoadStatus(absent(session, "loading" if running else "absent"), asleep)
    if state == "absent":
        return LoadStatus(absent(session))
    report = read_reports(progress)
    record = {
        **identity(session),
        "state": state,
        "complete": told.get("complete") == "1" if state == "loaded" else None,
        "partial": state == "loaded" and told.get("complete") != "1",
        "empty": state == "loaded" and not int(told.get("events", 0)),
        "progress": {name: report.counts.get(name, 0) for name in PROGRESS_FIELDS}
        | {"phase": state if state != "loading" else progress.get(b"phase", b"loading").decode()},
        "losses": [{"file": file, "code": code, "message": message} for file, (code, message) in sorted(report.losses.items())],
        "loss_count": report.loss_count,
        "events_skipped": report.counts.get("events_skipped", 0),
        "warnings": [{"code": code, "message": message} for code, message in json.loads(report.said.get("warnings", "[]"))],
        "skipped": json.loads(report.said.get("skipped", "{}")),
        "engine": report.said.get("engine"),
        "attempt": int(told.get("attempt", 0)),
        "queued_at": _time(told.get("queued_at")),
        "started_at": _time(told.get("started_at")),
        "finished_at": _time(told.get("finished_at")),
        "expires_at": _time(now + ttl) if loaded and ttl > 0 else None,
        "as_of": _time(told.get("as_of")),
        "growing": told.get("growing") == "1",
        "error": _error(told),
    }
    return LoadStatus(record, asleep)


def identity(session: Session) -> dict[str, Any]:
    """Who the record is about."""
    ref = session.ref
    return {
        "session": {
            "ref": str(ref),
            "namespace": ref.namespace,
            "kind": ref.kind,
            "name": ref.name,
            "cluster": session.cluster,
            "session": session.session,
        }
    }


def absent(session: Session, state: str = "absent") -> dict[str, Any]:
    """The record of a session that Redis holds nothing of."""
    return {
        **identity(session),
        "state": state,
        "complete": None,
        "partial": False,
        "empty": False,
        "progress": dict.fromkeys(PROGRESS_FIELDS, 0) | {"phase": state},
        "losses": [],
        "loss_count": 0,
        "events_skipped": 0,
        "warnings": [],
        "skipped": {},
        "engine": None,
        "attempt": 0,
        "queued_at": None,
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "as_of": None,
        "growing": False,
        "error": None,
    }


@dataclass(frozen=True, slots=True)
class ListedState:
    """What lists show of a session: `complete` is None unless it is loaded; `empty`: loaded, and there was no event."""

    state: str
    complete: bool | None = None
    empty: bool = False

    @property
    def partial(self) -> bool:
        return self.complete is False


async def listed_states(redis: Redis, sessions: list[SessionKeys]) -> list[ListedState]:
    """In one round trip. Raises StoreUnavailable."""
    if not sessions:
        return []
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for keys in sessions:
                pipe.hmget(keys.status, ["state", "complete", "events"])
                pipe.hget(keys.load, "attempt")
                pipe.exists(keys.loaded)
            found = await pipe.execute()
    return [_listed(*found[at : at + 3]) for at in range(0, len(found), 3)]


def _listed(ended: list[bytes | None], attempt: bytes | None, loaded: int) -> ListedState:
    state, complete, events = ended
    if loaded and state == b"loaded":
        return ListedState("loaded", complete == b"1", empty=not int(events or 0))
    if attempt is not None:
        return ListedState("queued" if attempt == b"0" else "loading")
    return ListedState("failed" if state == b"failed" else "absent")


def _error(status: Mapping[str, str]) -> dict[str, Any] | None:
    if "error_code" not in status:
        return None
    return {
        "code": status["error_code"],
        "message": status.get("error_message", ""),
        "retryable": status.get("error_retryable") == "1",
    }


def _time(ms: str | int | None) -> str | None:
    """RFC 3339, UTC."""
    if not ms:
        return None
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in raw.items()}
