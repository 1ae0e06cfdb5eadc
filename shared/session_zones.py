"""The zone of the clock that named a session: Ray writes the head's local time into the name, and its dashboard tells the offset.

Collectors store that answer. Without it a session is taken for one in UTC, as in KubeRay.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice

import structlog
from cachetools import TTLCache

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.layout import ENDPOINTS_PREFIX, data_prefixes
from shared.ray.proto_json import utc_offset
from shared.sessions import Session
from shared.storage.port import Storage

log = structlog.get_logger()

_ANSWER = f"{ENDPOINTS_PREFIX}restful__timezone"
_AT_ONCE = 8
# Each costs a read: of the newest sessions that many are asked for, older ones are taken for ones in UTC.
_MOST = 2_000
# How long a listing waits for the zones of its new sessions; a later listing has them all.
_PATIENCE = 1.0
# A collector may store the answer of a session that still runs later on.
_ABSENT_FOR = 600.0


class SessionZones:
    """Offsets from UTC by the keys of sessions, looked up in a thread of its own. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._known: dict[str, timedelta] = {}
        self._absent: TTLCache[str, bool] = TTLCache(_MOST, _ABSENT_FOR)
        self._look: threading.Thread | None = None

    def offsets(self, sessions: Iterable[Session]) -> Mapping[str, timedelta]:
        """What is known by now; of those that come first, new ones are asked for."""
        with self._lock:
            new = [session for session in islice(sessions, _MOST) if not self._is_known(session.key)]
            if new and not (self._look and self._look.is_alive()):
                self._look = threading.Thread(target=self._ask, args=(new,), name="session-zones", daemon=True)
                self._look.start()
            look = self._look
        if new and look:
            look.join(_PATIENCE)
        return self._known

    def _ask(self, sessions: list[Session]) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="session-zones") as pool:
            try:
                for session, offset in zip(sessions, pool.map(self._offset, sessions), strict=True):
                    with self._lock:
                        if offset is None:
                            self._absent[session.key] = True
                        else:
                            self._known[session.key] = offset
            except StorageUnavailable as exc:
                pool.shutdown(wait=False, cancel_futures=True)
                log.warning("zones of sessions not known", error=str(exc))

    def _is_known(self, key: str) -> bool:
        return key in self._known or key in self._absent

    def _offset(self, session: Session) -> timedelta | None:
        for prefix in data_prefixes(session):
            try:
                return _offset_in(self._storage.read(prefix + _ANSWER))
            except ObjectNotFound:
                continue
        return None


def _offset_in(answer: bytes) -> timedelta:
    """Ray's `{"offset": "+09:00", "value": "Asia/Tokyo"}`."""
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return timedelta()
    return (utc_offset(str(told.get("offset"))) if isinstance(told, dict) else None) or timedelta()
