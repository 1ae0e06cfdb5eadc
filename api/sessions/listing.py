"""`/clusters` (KubeRay's) and `/sessions` (ours): what is stored and what runs, in one list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidReference
from shared.live.port import LiveCluster
from shared.sessions import KINDS, LIVE, Session, SessionRef
from shared.store.load_status import ListedState

STATES = ("absent", "queued", "loading", "loaded", "failed", "live")
# Words for some of the loaded ones, which a list can be asked for, too.
WANTING = ("partial", "empty")
# Live or not, when it began, and its reference: so plain that the OpenAPI document can say which are valid.
CURSOR = r"([01]),([0-9TZ:-]+),([a-z0-9_./-]+)"


def cluster_rows(live: Sequence[LiveCluster], stored: Sequence[Session]) -> list[dict[str, Any]]:
    """KubeRay's `ClusterInfo` list: live clusters first, then stored sessions, newest first each."""
    rows = [_cluster_row(c.namespace, c.name, LIVE, c.created, c.owner_kind, c.owner_name) for c in live]
    return rows + [_cluster_row(s.namespace, s.cluster, s.session, s.began, s.owner_kind, s.owner_name) for s in stored]


def _cluster_row(namespace: str, cluster: str, session: str, created: datetime, kind: str | None, owner: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": cluster,
        "namespace": namespace,
        "sessionName": session,
        "createTime": _rfc3339(created),
        "createTimeStamp": int(created.timestamp()),
    }
    return row | {"ownerKind": kind, "ownerName": owner} if kind and owner else row


def session_row(session: Session) -> dict[str, Any]:
    """One row of `/sessions`, its state still to come."""
    return _session_row(session.ref, session.cluster, session.began, "")


def fill_state(row: dict[str, Any], found: ListedState) -> None:
    """`status` is the word that old clients know; what is wrong with a loaded session stands beside it."""
    row.update(status=found.state, complete=found.complete, partial=found.partial, empty=found.empty)


def has_state(row: dict[str, Any], state: str) -> bool:
    """Is it one of the rows that `state=` asks for?"""
    return bool(row[state]) if state in WANTING else row["status"] == state


def live_row(cluster: LiveCluster) -> dict[str, Any]:
    kind, name = (cluster.owner_kind, cluster.owner_name) if cluster.owner_kind and cluster.owner_name else ("raycluster", cluster.name)
    return _session_row(SessionRef(cluster.namespace, kind or "raycluster", name, LIVE), cluster.name, cluster.created, "live")


def _session_row(ref: SessionRef, cluster: str, created: datetime, state: str) -> dict[str, Any]:
    return {
        "ref": str(ref),
        "namespace": ref.namespace,
        "kind": ref.kind,
        "name": ref.name,
        "cluster": cluster,
        "session": ref.session,
        "createTime": _rfc3339(created),
        "live": state == "live",
        "status": state,
        "complete": None,
        "partial": False,
        "empty": False,
    }


def wanted(row: dict[str, Any], query: str, namespace: str, kind: str) -> bool:
    """Does a row pass the filters? `query` is looked for in the whole reference."""
    return (
        (not query or query.lower() in row["ref"].lower() or query.lower() in row["cluster"].lower())
        and (not namespace or row["namespace"] == namespace)
        and (not kind or row["kind"] == kind)
    )


def check_filters(kind: str, state: str) -> None:
    """Raises InvalidReference for words that no row could have."""
    if kind and kind not in KINDS:
        raise InvalidReference(f"unknown kind {kind!r}: use one of {', '.join(KINDS)}")
    if state and state not in (*STATES, *WANTING):
        raise InvalidReference(f"unknown state {state!r}: use one of {', '.join((*STATES, *WANTING))}")


def make_cursor(row: dict[str, Any]) -> str:
    """Names the last row of a page: pages stay right while sessions come and go."""
    live, created, ref = order(row)
    return f"{int(live)},{created},{ref}"


def read_cursor(text: str) -> tuple[bool, str, str]:
    """What comes after it is smaller in `order`. Raises InvalidReference for a cursor that is not ours."""
    found = re.fullmatch(CURSOR, text)
    if not found:
        raise InvalidReference("the cursor is not one of this server's")
    live, created, ref = found.groups()
    return live == "1", created, ref


def order(row: dict[str, Any]) -> tuple[bool, str, str]:
    """Sorts live first, then newest first, in reverse."""
    return row["live"], row["createTime"], row["ref"]


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
