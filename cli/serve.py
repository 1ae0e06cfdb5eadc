"""`ray-history api` and `ray-history worker`: the two production processes. Every setting comes from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.allocator import API, WORKER
from cli.begin import begin


def api(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: RAY_HISTORY_HOST or 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: RAY_HISTORY_PORT or 8080]", min=0, max=65535)] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the port.", min=1)] = 1,
    shutdown_grace: Annotated[
        float | None,
        typer.Option(
            help="Seconds that open requests may take to end after SIGTERM.  [default: RAY_HISTORY_SHUTDOWN_GRACE or 8]",
            min=0,
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run the HTTP side. Any number of these may run, on any machines."""
    if shutdown_grace is not None:
        # Read by every process of this command.
        os.environ["RAY_HISTORY_SHUTDOWN_GRACE"] = str(max(1.0, shutdown_grace))
    if host:
        os.environ["RAY_HISTORY_HOST"] = host
    return begin("cli.run_api", API, port=port, processes=processes)


def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Processes that load sessions.  [default: one per CPU]", min=1, show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this worker, unique over all of them; %h is the host.")] = "worker@%h",
    light_lane: Annotated[
        bool, typer.Option(help="One more process that begins loads only: a small session never waits for the steps of large ones.")
    ] = True,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written when the worker takes tasks, removed when it ends (for probes).", show_default=False)
    ] = None,
) -> int:
    """Run a worker, which loads sessions. Any number of these may run, on any machines."""
    return begin(
        "cli.run_worker",
        WORKER,
        name=name,
        processes=concurrency or os.cpu_count() or 1,
        light_lane=light_lane,
        ready_file=str(ready_file) if ready_file else None,
    )
