"""Commands that ask a running server about its sessions: `sessions`, `status`, `load`, `evict`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from cli.columns import aligned
from cli.errors import Failed
from cli.load_progress import follow
from cli.server import Server
from shared.errors import InvalidReference
from shared.sessions import SessionRef

_PAGE = 500


def _reference(text: str) -> SessionRef:
    try:
        return SessionRef.parse(text)
    except InvalidReference as exc:
        raise typer.BadParameter(str(exc)) from exc


Ref = Annotated[
    SessionRef,
    typer.Argument(metavar="REF", parser=_reference, help="{namespace}/{kind}/{name}[/{session}]; without a session: the latest."),
]
Address = Annotated[str, typer.Option("--server", envvar="RAY_HISTORY_SERVER", help="Address of the server.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_LOCAL = "http://127.0.0.1:8080"


def sessions(
    query: Annotated[str, typer.Option("--query", "-q", help="Only names that contain this.", show_default=False)] = "",
    namespace: Annotated[str, typer.Option(help="Only this namespace.", show_default=False)] = "",
    kind: Annotated[str, typer.Option(help="Only this kind: raycluster, rayjob or rayservice.", show_default=False)] = "",
    state: Annotated[str, typer.Option(help="Only this state: absent, queued, loading, loaded, failed or live.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 10_000,
    *,
    as_json: Json = False,
    server: Address = _LOCAL,
) -> None:
    """List the sessions in the storage, the newest first."""
    filters = {"q": query, "namespace": namespace, "kind": kind, "state": state}
    parameters: dict[str, str | int] = {name: value for name, value in filters.items() if value}
    found: list[dict[str, Any]] = []
    with Server(server) as http:
        while True:
            page = http.get("/sessions", params={**parameters, "limit": min(_PAGE, limit - len(found))})
            found += page["sessions"]
            if not page.get("next") or len(found) >= limit:
                break
            parameters["cursor"] = page["next"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print("no sessions", file=sys.stderr)
        return
    print(aligned(("REF", "CREATED", "STATE"), [(_text(session["ref"]), session["createTime"], _state(session)) for session in found]))


def status(ref: Ref, *, as_json: Json = False, server: Address = _LOCAL) -> None:
    """Show the load status of a session."""
    with Server(server) as http:
        record = http.get(_path(ref))
    if as_json:
        print(json.dumps(record, indent=2))
        return
    for name, value in _lines(record):
        print(f"{name + ':':<16} {value}")


def load(
    ref: Ref,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is loaded, with a progress bar.")] = False,
    server: Address = _LOCAL,
) -> None:
    """Load a session, unless it is loaded already. With --wait, exit code 1 says that the load failed."""
    with Server(server) as http:
        record = http.post(f"{_path(ref)}/load")
        if wait:
            record = follow(lambda: http.get(_path(ref)), record)
    state = record["state"]
    if state in ("failed", "live", "absent"):
        error = record.get("error") or {}
        raise Failed(error.get("message") or f"{ref} is {state}")
    print(
        f"{ref} is {state}"
        + ("" if record.get("complete", True) or state != "loaded" else f", partial: {len(record['losses'])} files not read")
    )


def evict(ref: Ref, *, server: Address = _LOCAL) -> None:
    """Drop a session's snapshot from Redis; its data in the storage stays."""
    with Server(server) as http:
        http.delete(_path(ref))
    print(f"{ref} is evicted")


def _path(ref: SessionRef) -> str:
    return f"/sessions/{ref}"


def _text(ref: Any) -> str:
    """`/sessions` may give a reference as text or as its parts."""
    return ref if isinstance(ref, str) else "/".join(ref[part] for part in ("namespace", "kind", "name", "session"))


def _state(session: dict[str, Any]) -> str:
    if session.get("live"):
        return "live"
    record = session.get("status")
    state = record.get("state", "absent") if isinstance(record, dict) else record or "absent"
    return "partial" if state == "loaded" and isinstance(record, dict) and record.get("complete") is False else str(state)


def _lines(record: dict[str, Any]) -> list[tuple[str, object]]:
    """What a person wants to read of a load status."""
    progress = record.get("progress") or {}
    partial = record["state"] == "loaded" and record.get("complete") is False
    lines: list[tuple[str, object]] = [("state", record["state"] + (" (partial)" if partial else ""))]
    if progress.get("files_total"):
        lines += [
            ("phase", progress.get("phase") or "-"),
            ("files", f"{progress['files_read']} of {progress['files_total']}, {progress['files_failed']} failed"),
            ("bytes", f"{progress['bytes_read']:,} of {progress['bytes_total']:,}"),
            ("events", f"{progress['events']:,}, {record.get('events_skipped') or 0:,} skipped"),
        ]
    lines += [
        (name.replace("_", " "), record[name]) for name in ("queued_at", "started_at", "finished_at", "expires_at") if record.get(name)
    ]
    lines += [("lost", f"{loss['file']}: {loss['message']}") for loss in record.get("losses") or []]
    if record.get("error"):
        lines.append(("error", f"{record['error']['message']} ({record['error']['code']})"))
    return lines
