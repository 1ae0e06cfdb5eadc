"""The load status: the record that clients poll, made from what Redis holds of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from shared.sessions import Session
from shared.store import keys
from shared.store.client import redis_errors

PROGRESS_FIELDS = ("files_total", "files_read", "files_failed", "bytes_total", "bytes_read", "events")
LOSS = "loss:"
LOSS_COUNT = "losses"
LOSSES_KEPT = 200
WARNINGS = "warnings"
FINAL = frozenset({"absent", "loaded", "failed", "live"})


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """`record` is what clients get; `lost` says that a load was cut off and nobody has taken it over yet."""

    record: dict[str, Any]
    lost: bool = False

    @property
    def state(self) -> str:
        return str(self.record["state"])

    @property
    def final(self) -> bool:
        return self.state in FINAL


async def read_status(redis: Redis, session: Session) -> LoadStatus:
    """Raises StoreUnavailable."""
    key = session.key
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.status(key))
            pipe.exists(keys.claim(key))
            pipe.get(keys.loaded(key))
            pipe.pttl(keys.loaded(key))
            pipe.time()
            raw, claimed, loaded, ttl, clock = await pipe.execute()
        status, progress, there = _texts(raw), {}, 0
        if generation := status.get("generation", ""):
            async with redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.progress(key, generation))
                pipe.exists(keys.snapshot(key, generation))
                found, there = await pipe.execute()
            progress = _texts(found)
    state = status.get("state", "absent")
    if state == "loaded" and not (loaded and there):
        return LoadStatus(absent(session, "loading" if claimed else "absent"))
    expires = None
    if state == "loaded" and ttl > 0:
        expires = _time(clock[0] * 1000 + clock[1] // 1000 + ttl)
    record = {
        **identity(session),
        "state": state,
        "complete": status.get("complete") == "1" if state == "loaded" else None,
        "partial": state == "loaded" and status.get("complete") != "1",
        "empty": state == "loaded" and not int(progress.get("events", 0)),
        "progress": {name: int(progress.get(name, 0)) for name in PROGRESS_FIELDS}
        | {"phase": state if state in ("queued", "loaded", "failed") else progress.get("phase", state)},
        "losses": losses(progress),
        "loss_count": int(progress.get(LOSS_COUNT, 0)),
        "events_skipped": int(progress.get("events_skipped", 0)),
        "warnings": warnings(progress),
        "skipped": json.loads(progress.get("skipped", "{}")),
        "engine": progress.get("engine"),
        "attempt": int(status.get("attempt", 0)),
        "queued_at": _time(status.get("queued_at")),
        "started_at": _time(status.get("started_at")),
        "finished_at": _time(status.get("finished_at")),
        "expires_at": expires,
        "error": _error(status),
    }
    return LoadStatus(record, lost=state in ("queued", "loading") and not claimed)


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
        "error": None,
    }


def losses(progress: Mapping[str, str]) -> list[dict[str, str]]:
    """Files that could not be read, by name: at most LOSSES_KEPT."""
    found = []
    for name, value in sorted(progress.items()):
        if name.startswith(LOSS):
            code, _, message = value.partition("\n")
            found.append({"file": name.removeprefix(LOSS), "code": code, "message": message})
    return found


@dataclass(frozen=True, slots=True)
class ListedState:
    """What lists show of a session: `complete` is None unless it is loaded; `empty`: loaded, and there was no event."""

    state: str
    complete: bool | None = None
    empty: bool = False

    @property
    def partial(self) -> bool:
        return self.complete is False


def warnings(progress: Mapping[str, str]) -> list[dict[str, str]]:
    """What the snapshot lacks though nothing was lost, and what would bring it."""
    warned = msgspec.json.decode(progress.get(WARNINGS, "[]"), type=list[tuple[str, str]])
    return [{"code": code, "message": message} for code, message in warned]


async def listed_states(redis: Redis, session_keys: list[str]) -> list[ListedState]:
    """In two round trips at most. Raises StoreUnavailable."""
    if not session_keys:
        return []
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for key in session_keys:
                pipe.hmget(keys.status(key), ["state", "generation", "complete"])
                pipe.exists(keys.loaded(key))
            found = await pipe.execute()
        result: list[ListedState] = []
        generations: dict[int, str] = {}
        for (raw, generation, complete), loaded in zip(found[::2], found[1::2], strict=True):
            state = raw.decode() if raw else "absent"
            if state == "loaded" and loaded and generation:
                generations[len(result)] = generation.decode()
                result.append(ListedState(state, complete=complete == b"1"))
            else:
                result.append(ListedState("absent" if state == "loaded" else state))
        async with redis.pipeline(transaction=False) as pipe:
            for place, generation in generations.items():
                pipe.hget(keys.progress(session_keys[place], generation), "events")
            events = await pipe.execute() if generations else []
    for place, count in zip(generations, events, strict=True):
        result[place] = replace(result[place], empty=not int(count or 0))
    return result


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
