"""Who did what: one log record each (`"event":"audit"`) for entering, loading, evicting, watching live, and for what was refused."""

from __future__ import annotations

from typing import Literal

import structlog
from cachetools import TTLCache

from api.access.caller import Action, current_caller, may
from shared.errors import Forbidden
from shared.sessions import SessionRef

log = structlog.get_logger()

Did = Literal["entered", "loads", "evicted", "live", "exported", "refused", "logged in"]
# A dashboard asks some routes every few seconds: watching one cluster live is one record in this time.
_WATCHING = 600.0
_watched: TTLCache[tuple[str, str], bool] = TTLCache(4096, _WATCHING)


def audit(did: Did, ref: SessionRef | str, **more: str) -> None:
    """`more`: what else there is to say; no secret, and nothing of a request's body."""
    log.info("audit", did=did, ref=str(ref), **{"caller": current_caller().name, **more})


def audit_live(cluster: str, method: str) -> None:
    """A request goes on to a live head: each that may change it, and one for all that read."""
    key = (current_caller().name, cluster)
    if method in ("GET", "HEAD"):
        if key in _watched:
            return
        _watched[key] = True
    audit("live", cluster, method=method)


async def require(ref: SessionRef | str, action: Action, namespace: str = "") -> None:
    """Raises Forbidden: the caller sees the session, but has no right to that. `namespace`: unless `ref` says it."""
    where = ref.namespace if isinstance(ref, SessionRef) else namespace
    if not await may(where, action):
        audit("refused", ref, right=action)
        raise Forbidden(f"you have no right to {action} in namespace {where}")
