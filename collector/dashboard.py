"""Answers of the head's dashboard that no event holds, stored as KubeRay's collector stores them (`logcollector/poll.go`).

Some are asked once, the others again and again: the last answer of a session is what a reader finds. An empty answer never
replaces one that said something, as Ray forgets what has ended.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

log = structlog.get_logger()

_ONCE = ("/api/v0/cluster_metadata", "/timezone")
_SERVE = "/api/serve/applications/"
_PLACEMENT_GROUPS = "/api/v0/placement_groups?detail=1&limit=10000"
_DATASETS = "/api/data/datasets/"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_EMPTY_ENOUGH = 2
_TIMEOUT = 10.0
_LARGEST = 64 << 20


class Dashboard:
    """The dashboard at `address`. `store` is told (session, path, answer). One thread at a time."""

    def __init__(self, address: str, extra: tuple[str, ...], store: Callable[[str, str, bytes], None]) -> None:
        self._address = address.rstrip("/")
        self._extra = extra
        self._store = store
        # The environment's proxies are for the way out; a dashboard is near.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._session = ""
        self._once: set[str] = set()
        self._datasets_done: set[str] = set()
        self._datasets_empty: dict[str, int] = {}
        self.problem = ""
        """Why the last poll brought nothing; empty when it did."""

    def session(self) -> str | None:
        """Whose dashboard it is now; None when it does not say."""
        answer = _json(self._get("/api/version"))
        name = answer.get("session_name") if isinstance(answer, dict) else None
        return name if isinstance(name, str) and name else None

    def poll(self) -> None:
        """Store what it answers now."""
        session = self.session()
        if session is None:
            return
        if session != self._session:
            self._session, self._once, self._datasets_done, self._datasets_empty = session, set(), set(), {}
        for path in _ONCE:
            if path not in self._once and (body := self._get(path)):
                self._store(session, path, body)
                self._once.add(path)
        for path in (_SERVE, _PLACEMENT_GROUPS, *self._extra):
            body = self._get(path)
            if body and not (path == _SERVE and _is_empty(body, "applications")):
                self._store(session, path, body)
        self._poll_datasets(session)

    def _poll_datasets(self, session: str) -> None:
        jobs = _json(self._get("/api/jobs/"))
        for job in jobs if isinstance(jobs, list) else ():
            job_id = job.get("job_id") if isinstance(job, dict) else None
            if not isinstance(job_id, str) or not job_id or job_id in self._datasets_done:
                continue
            ended = job.get("status") in _ENDED
            body = self._get(_DATASETS + job_id)
            if body is None:
                continue
            if not _is_empty(body, "datasets"):
                self._store(session, _DATASETS + job_id, body)
                if ended:
                    self._datasets_done.add(job_id)
            elif ended:
                self._datasets_empty[job_id] = self._datasets_empty.get(job_id, 0) + 1
                if self._datasets_empty[job_id] >= _EMPTY_ENOUGH:
                    self._datasets_done.add(job_id)

    def _get(self, path: str) -> bytes | None:
        request = urllib.request.Request(self._address + path, headers=_credentials())  # noqa: S310 - the address is a setting
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                body = bytes(answer.read(_LARGEST + 1))
        except (OSError, ValueError) as exc:
            self.problem = f"{self._address}{path}: {exc}"
            if isinstance(exc, urllib.error.HTTPError):
                exc.close()
            return None
        if len(body) > _LARGEST:
            self.problem = f"{self._address}{path}: more than {_LARGEST >> 20} MiB"
            return None
        self.problem = ""
        return body


def _credentials() -> dict[str, str]:
    """Ray's token, by the variables that Ray and KubeRay set (KubeRay: SetRayAuthHeader)."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if os.environ.get("RAY_ENABLE_K8S_TOKEN_AUTH", "").lower() in ("1", "t", "true"):
        path = "/var/run/secrets/ray.io/serviceaccount/token"
        token = ""
    if not token and path:
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                token = file.read().strip()
        except OSError as exc:
            log.warning("the dashboard's token cannot be read", path=path, error=str(exc))
    return {"x-ray-authorization": f"Bearer {token}"} if token else {}


def _json(body: bytes | None) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.MsgspecError:
        return None


def _is_empty(body: bytes, name: str) -> bool:
    answer = _json(body)
    return isinstance(answer, dict) and not answer.get(name)
