"""`ray-history export`: every row of a session's tasks, actors or jobs, as lines of JSON or CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Failed
from cli.load_progress import follow
from cli.server import Server
from cli.server_sessions import Address, Ref
from shared.sessions import SessionRef

_LOCAL = "http://127.0.0.1:8080"


def export(
    ref: Ref,
    *,
    what: Annotated[str, typer.Option(help="tasks, actors, jobs, nodes, workers or placement_groups.")] = "tasks",
    format: Annotated[str, typer.Option("--format", help="ndjson or csv.")] = "ndjson",  # noqa: A002 - the option's name
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; without it, standard output.")] = None,
    server: Address = _LOCAL,
) -> None:
    """Write every row of a session to a file, however many there are. A session that is not loaded is loaded first."""
    with Server(server) as http:
        record = http.post(f"/sessions/{ref}/load")
        record = follow(lambda: http.get(f"/sessions/{ref}"), record)
        if record["state"] != "loaded":
            error = record.get("error") or {}
            raise Failed(error.get("message") or f"{ref} is {record['state']}")
        real = SessionRef(ref.namespace, ref.kind, ref.name, record["session"]["session"])
        path = f"/sessions/{real}/export"
        if output is None:
            http.download(path, {"what": what, "format": format}, sys.stdout.buffer)
            return
        # A file that is there is whole.
        part = output.with_name(output.name + ".part")
        try:
            with part.open("wb") as file:
                http.download(path, {"what": what, "format": format}, file)
            part.replace(output)
        except OSError as exc:
            raise Failed(f"{output}: {exc.strerror}") from exc
        finally:
            part.unlink(missing_ok=True)
    if record.get("complete") is False:
        print("the session is partial: rows may be missing (`ray-history status` says which files could not be read)", file=sys.stderr)
