"""`ray-history export`: a session as a file: rows of one kind, a trace of its tasks, or everything that is stored of it."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Annotated

import typer
import zstandard

from cli.load_progress import load_first
from cli.output import Failed
from cli.server import Server
from cli.server_sessions import Address, Ref

_MANIFEST = "MANIFEST.json"


def missing_files(archive: Path) -> list[str]:
    """A line for each file that is not in a `.tar.zst`, or not as it should be. Raises Failed: it is no whole archive."""
    try:
        with (
            archive.open("rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as stream,
            tarfile.open(fileobj=stream, mode="r|") as members,
        ):
            for member in members:
                if member.name == _MANIFEST and (content := members.extractfile(member)):
                    return [f"{loss['file']}: {loss['message']}" for loss in json.load(content)["losses"]]
    except (OSError, tarfile.TarError, zstandard.ZstdError, ValueError) as exc:
        raise Failed(f"{archive}: {exc}") from exc
    raise Failed(f"{archive}: no whole archive, it has no {_MANIFEST}")


_LOCAL = "http://127.0.0.1:8080"
_ARCHIVES = ("logs", "raw")


def export(
    ref: Ref,
    *,
    what: Annotated[
        str,
        typer.Option(
            help="Rows: tasks, actors, jobs, nodes, workers or placement_groups; timeline: a trace of the tasks for Perfetto; "
            "logs: the log files; raw: every stored file."
        ),
    ] = "tasks",
    format: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option("--format", help="Rows: ndjson (the default), csv or parquet. Others have one.", show_default=False),
    ] = "",
    job_id: Annotated[str, typer.Option("--job-id", help="Only tasks, or the timeline, of this job.", show_default=False)] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; without it, standard output.")] = None,
    server: Address = _LOCAL,
) -> None:
    """Write a session to a file, however large it is. Rows and timelines need it loaded: it is loaded first where it is not."""
    params: dict[str, str | int] = {"what": what, **({"format": format} if format else {}), **({"job_id": job_id} if job_id else {})}
    with Server(server) as http:
        real, complete = (ref, True) if what in _ARCHIVES else load_first(http, ref)
        _write(http, f"/sessions/{real}/export", params, output)
    if not complete:
        print("the session is partial: rows may be missing (`ray-history status` says which files could not be read)", file=sys.stderr)
    if what in _ARCHIVES and output is not None:
        for line in missing_files(output):
            print(f"lost: {line}", file=sys.stderr)


def _write(http: Server, path: str, params: dict[str, str | int], output: Path | None) -> None:
    if output is None:
        http.download(path, params, sys.stdout.buffer)
        return
    # A file that is there is whole.
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            http.download(path, params, file)
        part.replace(output)
    except OSError as exc:
        raise Failed(f"{output}: {exc.strerror}") from exc
    finally:
        part.unlink(missing_ok=True)
