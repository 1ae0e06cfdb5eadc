"""The progress bar of a load, and the loads that commands need before they do what they are for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import Failed
from cli.server import Server
from shared.sessions import SessionRef

# `absent`: it was evicted meanwhile, nobody loads it any more.
FINAL = frozenset({"loaded", "failed", "live", "absent"})
_POLL = 0.25


def follow(status: Callable[[], dict[str, Any]], record: dict[str, Any], *, poll: float = _POLL) -> dict[str, Any]:
    """Draw the load's progress on stderr until its state is final; returns the final load status.

    A partial snapshot that is being loaded again is `loaded` all the while: there is nothing to wait for.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]} events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(record["state"], total=None, events="0")
        while True:
            progress = record.get("progress") or {}
            total = progress.get("bytes_total") or None
            done = progress.get("bytes_read") or 0
            phase = progress.get("phase") or record["state"]
            bar.update(task, description=phase, total=total, completed=done, events=f"{progress.get('events') or 0:,}")
            if record["state"] in FINAL:
                bar.update(task, description=record["state"])
                return record
            time.sleep(poll)
            record = status()


def load_first(http: Server, ref: SessionRef) -> tuple[SessionRef, bool]:
    """The session that `ref` means, and whether all of it could be loaded. Raises Failed: it could not, or it runs."""
    record = http.post(f"/sessions/{ref}/load")
    if record["state"] != "loaded":
        record = follow(lambda: http.get(f"/sessions/{ref}"), record)
    if record["state"] != "loaded":
        error = record.get("error") or {}
        raise Failed(error.get("message") or f"{ref} is {record['state']}")
    return SessionRef(ref.namespace, ref.kind, ref.name, record["session"]["session"]), record.get("complete") is not False
