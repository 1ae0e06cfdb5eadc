"""`ray-history api` and `ray-history worker`: the two production processes. Every setting comes from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from api.http_protocol import http_protocol
from shared import metrics_files
from shared.broker import check_broker
from shared.logs import set_up_logs
from shared.settings import Settings
from shared.store.start_check import check_redis

# Longer than proxies and load balancers keep idle connections (nginx, Amazon's: 60 s): the server must not be the first to close one.
_KEEP_ALIVE = 75


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
) -> None:
    """Run the HTTP side. Any number of these may run, on any machines."""
    if shutdown_grace is not None:
        # Read by every process of this command.
        os.environ["RAY_HISTORY_SHUTDOWN_GRACE"] = str(max(1.0, shutdown_grace))
    if host:
        os.environ["RAY_HISTORY_HOST"] = host
    settings = Settings.from_environment()
    check_redis(settings.redis)
    check_broker(settings.redis)
    if processes > 1:
        metrics_files.share_between_processes()
    try:
        _serve(settings, settings.api.host, settings.api.port if port is None else port, processes)
    finally:
        if processes > 1:
            metrics_files.forget_all()


def _serve(settings: Settings, host: str, port: int, processes: int) -> None:
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=processes,
        loop="uvloop",
        http=http_protocol(settings.api),
        # Logs are set up by create_app, requests are logged there with their session; behind a proxy its headers count.
        log_config=None,
        access_log=False,
        server_header=False,
        # Whom a proxy names counts only if the request comes from that proxy: its own address must not be replaced by what it forwards.
        proxy_headers=settings.auth.auth != "proxy",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.api.shutdown_grace)),
    )


# glibc: ask for huge pages, and keep freed memory for the next block. Faulting pages in anew costs a third of a load.
_TUNABLES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=536870912:glibc.malloc.mmap_threshold=536870912:glibc.malloc.top_pad=67108864"
)


# Set, with this process' id, once it has been started again.
_PREPARED = "_RAY_HISTORY_PREPARED"


def _prepare() -> None:
    """Start this very command again, with what is read only when a process starts: glibc's tunables, and where metrics are shared."""
    if os.environ.get(_PREPARED) == str(os.getpid()):
        return
    os.environ[_PREPARED] = str(os.getpid())
    if sys.platform == "linux":
        os.environ.setdefault("GLIBC_TUNABLES", _TUNABLES)
    metrics_files.share_between_processes()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "cli", *sys.argv[1:]])  # noqa: S606


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
    settings = Settings.from_environment()
    _prepare()
    try:
        check_redis(settings.redis)
        check_broker(settings.redis)
        set_up_logs(settings.log)
        # Imported here: only workers need what they load with.
        from workers import tasks, worker_metrics  # noqa: F401, PLC0415
        from workers.lane import lanes  # noqa: PLC0415
        from workers.supervisor import Supervisor  # noqa: PLC0415

        supervisor = Supervisor(lanes(name, concurrency or os.cpu_count() or 1, light=light_lane), settings, ready_file)
        return supervisor.run()
    finally:
        metrics_files.forget_all()
