"""KubeRay's bucket layouts: which key means what. Pure; keys are relative to the storage root.

Mirrors KubeRay's `historyserver/pkg/utils`, its storage and its collectors. Where markers and data of a session are:

| written by | marker | data, below it |
| --- | --- | --- |
| v1.7.0 and later | `cluster-metadata/raycluster/{ns}_{cluster}/{session}` | `cluster-history/raycluster/{ns}/{cluster}/{session}/` |
| with an owner | `cluster-metadata/{kind}/{ns}_{owner}_{cluster}/{session}` | `cluster-history/{kind}/{ns}/{owner}/{cluster}/{session}/` |
| master, June and July 2026 | as v1.7.0 | `{cluster}_{ns}/{session}/` |
| v1.6.0 to v1.6.2 | `metadir/{cluster}_{ns}/{session}` | `{cluster}_{ns}/{session}/` |
| a head that was killed hard | none | as above |

Below a session it is `{node}/logs/..`, `{node}/node_events/..`, `{node}/job_events/{job}/..` today, and was `logs/{node}/..`,
`node_events/{node}-{hour}`, `job_events/{job}/{node}-{hour}`: keys below a session are always spelled as today (`key_below`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from shared.errors import InvalidReference
from shared.sessions import KINDS, Session, SessionRef, created_at

METADATA_PREFIX = "cluster-metadata/"
OLD_METADATA_PREFIX = "metadir/"
HISTORY_PREFIX = "cluster-history/"
ENDPOINTS_PREFIX = "fetched_endpoints/"

_EVENT_FILE = re.compile(r"[^/]+/(?:node_events|job_events/[^/]+)/[^/]+")
_LOG_FILE = re.compile(r"[^/]+/logs/.+", re.DOTALL)
_ENDPOINT = ENDPOINTS_PREFIX + "restful__"


def session_prefix(session: Session) -> str:
    """Everything of one session lies below it in the layout of today; ends in `/`."""
    if session.owner_kind and session.owner_name:
        owner = f"{session.owner_kind}/{session.namespace}/{session.owner_name}"
    else:
        owner = f"raycluster/{session.namespace}"
    return f"{HISTORY_PREFIX}{owner}/{session.cluster}/{session.session}/"


def old_prefix(session: Session) -> str:
    """The same up to KubeRay v1.6, and in July 2026."""
    return f"{session.cluster}_{session.namespace}/{session.session}/"


def data_prefixes(session: Session) -> tuple[str, ...]:
    """Where the session's data lies; it may be in two places, when its collector was upgraded while it ran."""
    return session.prefixes or (session_prefix(session),)


def key_below(session: Session, key: str) -> str:
    """A key's place below its session, as it is spelled today."""
    prefix = next((prefix for prefix in data_prefixes(session) if key.startswith(prefix)), "")
    below = key.removeprefix(prefix)
    if prefix.startswith(HISTORY_PREFIX):
        return below
    kind, _, rest = below.partition("/")
    if kind == "logs":
        node, _, name = rest.partition("/")
        return f"{node}/logs/{name}"
    if kind in ("node_events", "job_events"):
        return f"{rest.rpartition('/')[2].partition('-')[0]}/{below}"
    return below


def session_of_old_marker(key: str) -> Session | None:
    """The session of a marker of KubeRay v1.6; None for any other key."""
    parts = key.removeprefix(OLD_METADATA_PREFIX).rstrip("/").split("/")
    return old_session(*parts) if key.startswith(OLD_METADATA_PREFIX) and len(parts) == 2 else None


def old_session(directory: str, name: str) -> Session | None:
    """The session in a directory `{cluster}_{ns}` of the old layout; None if these are no names of one."""
    names = directory.split("_")
    if len(names) != 2:
        return None
    try:
        SessionRef.of(names[1], "raycluster", names[0], name)
        created_at(name)
    except InvalidReference:
        return None
    session = Session(names[1], names[0], name)
    return replace(session, prefixes=(old_prefix(session),))


def marker_key(session: Session) -> str:
    """The empty object by which readers find the session."""
    if session.owner_kind and session.owner_name:
        return f"{METADATA_PREFIX}{session.owner_kind}/{session.namespace}_{session.owner_name}_{session.cluster}/{session.session}"
    return f"{METADATA_PREFIX}raycluster/{session.namespace}_{session.cluster}/{session.session}"


def old_marker_key(session: Session) -> str:
    """The same up to KubeRay v1.6."""
    return f"{OLD_METADATA_PREFIX}{session.cluster}_{session.namespace}/{session.session}"


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


def is_log_file(key_below_session: str) -> bool:
    """`{node}/logs/**`, what Ray itself calls its logs."""
    return bool(_LOG_FILE.fullmatch(key_below_session))


def log_prefixes(session: Session, node_id: str) -> list[str]:
    """Where the log files of one node are; each ends in `/`. Callers check `node_id`: it must be one part of a key."""
    places = [(prefix, prefix.startswith(HISTORY_PREFIX)) for prefix in data_prefixes(session)]
    return [f"{prefix}{node_id}/logs/" if today else f"{prefix}logs/{node_id}/" for prefix, today in places]


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
