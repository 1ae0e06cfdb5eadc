"""`ray-history api` and `ray-history worker`: the two production processes. Every setting comes from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from shared.settings import Settings


def api(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: RAY_HISTORY_HOST or 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: RAY_HISTORY_PORT or 8080]", min=0, max=65535)] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the port.", min=1)] = 1,
    shutdown_grace: Annotated[float, typer.Option(help="Seconds that open requests may take to end after SIGTERM.", min=0)] = 8,
) -> None:
    """Run the HTTP side. Any number of these may run, on any machines."""
    settings = Settings.from_environment()
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=host or settings.api.host,
        port=settings.api.port if port is None else port,
        workers=processes,
        loop="uvloop",
        http="httptools",
        # Logs are set up by create_app, requests are logged there with their session; behind a proxy its headers count.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(shutdown_grace)),
    )


# glibc: ask for huge pages, and keep freed memory for the next block. Faulting pages in anew costs a third of a load.
_TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=536870912:glibc.malloc.mmap_threshold=536870912:glibc.malloc.top_pad=67108864"


def _with_large_pages() -> None:
    """Start this very command again with the tunables, which glibc reads only when a process starts."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _TUNABLES
        os.execv(sys.executable, [sys.executable, "-m", "cli", *sys.argv[1:]])  # noqa: S606


def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Processes that load sessions.  [default: one per CPU]", min=1, show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this worker, unique over all of them; %h is the host.")] = "worker@%h",
    ready_file: Annotated[
        Path | None, typer.Option(help="Written when the worker takes tasks, removed when it ends (for probes).", show_default=False)
    ] = None,
) -> None:
    """Run a worker, which loads sessions. Any number of these may run, on any machines."""
    settings = Settings.from_environment()
    _with_large_pages()
    # SIGTERM, which orchestrators send, ends running loads soon and hands them back, rather than waiting for them without limit.
    # Celery reads it when it is imported.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    from celery.signals import worker_ready, worker_shutdown  # noqa: PLC0415

    from workers.app import app  # noqa: PLC0415

    if ready_file:
        worker_ready.connect(lambda **_: ready_file.touch(), weak=False)
        worker_shutdown.connect(lambda **_: ready_file.unlink(missing_ok=True), weak=False)
    app.worker_main(
        [
            "worker",
            "--loglevel",
            settings.log.log_level,
            "--hostname",
            name,
            "--without-mingle",
            "--without-gossip",
            *(["--concurrency", str(concurrency)] if concurrency else []),
        ]
    )
