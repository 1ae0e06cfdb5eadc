"""KubeRay's bucket layout: which key means what. Pure; keys are relative to the storage root.

Mirrors KubeRay's `historyserver/pkg/utils` and its collector:
markers `cluster-metadata/raycluster/{ns}_{cluster}/{session}` (or `{kind}/{ns}_{owner}_{cluster}/{session}`), data
`cluster-history/raycluster/{ns}/{cluster}/{session}/...` (or `{kind}/{ns}/{owner}/{cluster}/{session}/...`).
"""

from __future__ import annotations

import re

from shared.errors import InvalidReference
from shared.sessions import KINDS, Session, SessionRef, created_at

METADATA_PREFIX = "cluster-metadata/"
HISTORY_PREFIX = "cluster-history/"
ENDPOINTS_PREFIX = "fetched_endpoints/"

_EVENT_FILE = re.compile(r"[^/]+/(?:node_events|job_events/[^/]+)/[^/]+")
_LOG_EVENT_FILE = re.compile(r"[^/]+/logs/events/event_[^/]+\.log")
_ENDPOINT = ENDPOINTS_PREFIX + "restful__"


def session_prefix(session: Session) -> str:
    """Everything of one session lies below it; ends in `/`."""
    if session.owner_kind and session.owner_name:
        owner = f"{session.owner_kind}/{session.namespace}/{session.owner_name}"
    else:
        owner = f"raycluster/{session.namespace}"
    return f"{HISTORY_PREFIX}{owner}/{session.cluster}/{session.session}/"


def session_of_marker(key: str) -> Session | None:
    """The session whose marker `key` is; None for any other key below METADATA_PREFIX.

    Names are DNS labels or subdomains, so `_` splits them unambiguously.
    """
    parts = key.removeprefix(METADATA_PREFIX).rstrip("/").split("/")
    if not key.startswith(METADATA_PREFIX) or len(parts) != 3:
        return None
    kind, names, session = parts[0], parts[1].split("_"), parts[2]
    owned = kind != "raycluster"
    if kind not in KINDS or len(names) != (3 if owned else 2):
        return None
    try:
        created_at(session)
        for name in names[1:]:
            SessionRef.of(names[0], kind, name, session)
    except InvalidReference:
        return None
    if owned:
        return Session(names[0], names[2], session, kind, names[1])
    return Session(names[0], names[1], session)


def is_event_file(key_below_session: str) -> bool:
    """`{node}/node_events/*` and `{node}/job_events/{job}/*`. What it holds is told by its first byte, not by its name."""
    return bool(_EVENT_FILE.fullmatch(key_below_session))


def is_log_event_file(key_below_session: str) -> bool:
    """`{node}/logs/events/event_*.log`: it feeds `/events` and the jobs' statuses."""
    return bool(_LOG_EVENT_FILE.fullmatch(key_below_session))


def log_prefix(session: Session, node_id: str) -> str:
    """The log files of one node; ends in `/`. Callers check `node_id`: it must be one part of a key."""
    return f"{session_prefix(session)}{node_id}/logs/"


def endpoint_of(key_below_session: str) -> str | None:
    """The dashboard path whose answer is stored there, query string kept: `fetched_endpoints/restful__api__v0__x` is `/api/v0/x`."""
    if not key_below_session.startswith(_ENDPOINT):
        return None
    path, query, tail = key_below_session.removeprefix(_ENDPOINT).partition("?")
    return ("/" + path.replace("__", "/")).rstrip("/") + query + tail


def stored_endpoint(path: str) -> str:
    """What `endpoint_of` makes of the key under which the collector stores the answer of a path (with its query string).

    Keys cannot tell `/` from `__`, so a path is looked up by what its key says (KubeRay: `utils.EndpointPathToStorageKey`).
    """
    return endpoint_of(_ENDPOINT + path.strip("/").replace("/", "__")) or ""
