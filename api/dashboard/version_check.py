"""What Ray's Jobs client asks before anything else: may it speak to this server?

Whatever else than 200 it gets, it tells its user nothing of the answer: of a 404 it says that the cluster's Ray is older than 1.9. It shows
the whole answer to its next question. So it is let through, and that one says what is wrong with the session.
Ray: `SubmissionClient._check_connection_and_version`, `_raise_error` in `dashboard/modules/dashboard_sdk.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from api.snapshots.reader import SnapshotReader
from shared.ray.versions import NEWEST, shown

_PATH = "/api/version"
_CLIENT = b"python-requests/"


def is_version_check(scope: Scope) -> bool:
    """Others get 410 for a session that is not there: to them the answer's status is the answer."""
    asks = scope["method"] == "GET" and scope["path"].rstrip("/").endswith(_PATH)
    return asks and any(name == b"user-agent" and value.startswith(_CLIENT) for name, value in scope["headers"])


async def go_on(snapshot: SnapshotReader | None = None) -> Response:
    """With the session's own version where it is known, else with that of the Ray whose routes are answered. Raises HistoryError."""
    told: dict[str, Any] = msgspec.json.decode(await snapshot.doc("version") or b"{}") if snapshot else {}
    told["ray_version"] = told.get("ray_version") or f"{shown(NEWEST)}.0"
    return JSONResponse(told, headers={"Cache-Control": "no-store"})
