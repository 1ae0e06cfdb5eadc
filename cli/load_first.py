"""Commands that need a session loaded have it loaded."""

from __future__ import annotations

from cli.errors import Failed
from cli.load_progress import follow
from cli.server import Server
from shared.sessions import SessionRef


def load_first(http: Server, ref: SessionRef) -> tuple[SessionRef, bool]:
    """The session that `ref` means, and whether all of it could be loaded. Raises Failed: it could not, or it runs."""
    record = http.post(f"/sessions/{ref}/load")
    if record["state"] != "loaded":
        record = follow(lambda: http.get(f"/sessions/{ref}"), record)
    if record["state"] != "loaded":
        error = record.get("error") or {}
        raise Failed(error.get("message") or f"{ref} is {record['state']}")
    return SessionRef(ref.namespace, ref.kind, ref.name, record["session"]["session"]), record.get("complete") is not False
