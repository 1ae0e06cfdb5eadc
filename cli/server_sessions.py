"""Commands that ask a running server about its sessions: `sessions`, `status`, `load`, `evict`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from cli.load_progress import follow
from cli.output import Failed, aligned
from cli.server import Server
from shared.errors import InvalidReference
from shared.sessions import LATEST, SessionRef

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
    state: Annotated[
        str,
        typer.Option(help="Only this state: absent, queued, loading, loaded, failed or live; or partial, or empty.", show_default=False),
    ] = "",
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
    print(aligned(("REF", "CREATED (UTC)", "STATE"), [(session["ref"], session["createTime"], _state(session)) for session in found]))


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
        ref = _real(ref, record)
        if wait:
            record = follow(lambda: http.get(_path(ref)), record)
    state = record["state"]
    if state in ("failed", "live", "absent"):
        error = record.get("error") or {}
        raise Failed(error.get("message") or f"{ref} is {state}")
    print(f"{ref} is {_state_of(record)}")
    for line in _missing(record):
        print(line, file=sys.stderr)


def evict(ref: Ref, *, server: Address = _LOCAL) -> None:
    """Drop a session's snapshot from Redis; its data in the storage stays."""
    with Server(server) as http:
        if ref.session == LATEST:
            ref = _real(ref, http.get(_path(ref)))
        http.delete(_path(ref))
    print(f"{ref} is evicted")


def _path(ref: SessionRef) -> str:
    return f"/sessions/{ref}"


def _real(ref: SessionRef, record: dict[str, Any]) -> SessionRef:
    """The reference with the session that `latest` means."""
    return SessionRef(ref.namespace, ref.kind, ref.name, record.get("session", {}).get("session", ref.session))


def _state(row: dict[str, Any]) -> str:
    """Of a row of the list."""
    return "live" if row.get("live") else _state_of({**row, "state": row.get("status") or "absent"})


def _state_of(record: dict[str, Any]) -> str:
    """With what is wrong with a loaded session: `loaded (partial, empty)`."""
    wanting = [word for word in ("partial", "empty") if record.get(word)]
    return str(record["state"]) + (f" ({', '.join(wanting)})" if wanting else "")


def _missing(record: dict[str, Any]) -> list[str]:
    """What a loaded session lacks, one line each."""
    lost, count = record.get("losses") or [], record.get("loss_count", 0)
    lines = [f"lost: {loss['file']}: {loss['message']}" for loss in lost]
    more = [f"lost: and {count - len(lost)} more files"] if count > len(lost) else []
    return lines + more + [f"warning: {warning['message']}" for warning in record.get("warnings") or []]


def _lines(record: dict[str, Any]) -> list[tuple[str, object]]:
    """What a person wants to read of a load status."""
    progress = record.get("progress") or {}
    session = record.get("session") or {}
    lines: list[tuple[str, object]] = [(name, session[name]) for name in ("ref", "cluster") if session.get(name)]
    lines.append(("state", _state_of(record)))
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
    lines += [(name, text) for name, _, text in (line.partition(": ") for line in _missing(record))]
    if record.get("error"):
        lines.append(("error", f"{record['error']['message']} ({record['error']['code']})"))
    return lines
