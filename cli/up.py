"""`ray-history up`: an embedded Redis-compatible server, a worker and the API, in one command on one machine."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer

from api.pages.builds import Builds
from cli import preflight
from cli.collect import HOW_RAY_IS_STARTED, prepare_collecting
from cli.dashboard import default_builds_dir
from cli.data_directory import default_data_dir
from cli.embedded_server import EmbeddedServer, free_port
from cli.processes import Processes
from cli.storage_layout import check_storage
from cli.version import VERSION
from shared.broker import check_broker
from shared.settings import Settings
from shared.store.start_check import check_redis

_READY_TIMEOUT = 90.0
# Longer than a child's own orderly end, which it knows better.
_GRACE = {"collector": 30.0, "redis": 10.0, "worker": 15.0, "api": 10.0}


def up(
    where: Annotated[str, typer.Argument(metavar="[STORAGE]", help="The same as --storage.", show_default=False)] = "",
    storage: Annotated[
        str,
        typer.Option(help="Where the collector's data is: a storage URL or a directory.", envvar="RAY_HISTORY_STORAGE", show_default=False),
    ] = "",
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.  [default: 8080]", min=0, max=65535)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that load sessions.  [default: one per CPU, at most 4]", min=1, show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where loaded sessions and logs are kept.  [default: ~/.local/share/ray-history]", show_default=False),
    ] = None,
    redis_url: Annotated[
        str, typer.Option(help="Use this Redis server and start none.", envvar="RAY_HISTORY_REDIS_URL", show_default=False)
    ] = "",
    dashboard_dir: Annotated[
        str,
        typer.Option(
            help="Where the Ray dashboard's pages are, one build per Ray version.  [default: ~/.local/share/ray-history/dashboard]",
            envvar="RAY_HISTORY_DASHBOARD_DIR",
            show_default=False,
        ),
    ] = "",
    collect: Annotated[
        bool,
        typer.Option("--collect", help="Also collect the Ray on this machine; without --storage its history goes to the data directory."),
    ] = False,
    logs: Annotated[
        bool, typer.Option("--logs", help="Show the logs of all parts here instead of writing them to the data directory.")
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C.

    Serves the sessions below --storage: an embedded Redis-compatible server, worker processes and the API.
    What was loaded stays in --data-dir for the next time. All settings: `ray-history config`.
    """
    if where and storage and "RAY_HISTORY_STORAGE" not in os.environ:
        raise typer.BadParameter("the storage is given twice: as an argument and as --storage")
    chosen_dir = (data_dir or default_data_dir()).expanduser().absolute()
    _set("STORAGE", preflight.storage_url(where or storage))
    if collect:
        prepare_collecting(chosen_dir)
    _set("HOST", host)
    _set("PORT", port)
    _set("REDIS_URL", redis_url)
    pages = Path(dashboard_dir).expanduser().absolute() if dashboard_dir else default_builds_dir()
    _set("DASHBOARD_DIR", pages)
    settings = Settings.from_environment()
    if redis_url:
        check_redis(settings.redis)
        check_broker(settings.redis)
    if dashboard_dir:
        preflight.check_dashboard(pages)
    address = settings.api.host
    _set("PORT", chosen := preflight.check_port(address, settings.api.port))
    if (nothing := check_storage(settings.storage)) and not collect:
        print(f"ray-history: {nothing}", file=sys.stderr)
    with preflight.data_directory(chosen_dir) as directory:
        _run(
            directory,
            address,
            chosen,
            workers or min(os.cpu_count() or 1, 4),
            storage=settings.storage.storage,
            embedded=not redis_url,
            collect=collect,
            logs=logs,
            pages=pages,
            fetch_pages=_wants_pages(pages),
        )


def _run(
    directory: Path,
    host: str,
    port: int,
    workers: int,
    *,
    storage: str,
    embedded: bool,
    collect: bool,
    logs: bool,
    pages: Path,
    fetch_pages: bool,
) -> None:
    log_dir = directory / "logs"
    log_dir.mkdir(exist_ok=True)

    def log(name: str) -> Path | None:
        return None if logs else log_dir / f"{name}.log"

    ourselves = [sys.executable, "-m", "cli"]
    worker_ready = directory / "worker-ready"
    worker_ready.unlink(missing_ok=True)
    children = Processes()
    with children.signals():
        try:
            if collect:
                # First, and ended last: it is there when Ray sends, and loses nothing when another part fails to start.
                children.start("collector", [sys.executable, "-m", "collector"], grace=_GRACE["collector"], log=log("collector"))
            if embedded:
                server = EmbeddedServer(preflight.keep_for(directory / "redis", f"{VERSION}\n{storage}\n"), free_port())
                children.start("redis", server.command(), grace=_GRACE["redis"], log=log("redis"), stdin=server.configuration())
                if not children.wait_until(server.answers, "redis", _READY_TIMEOUT):
                    return
                _set("REDIS_URL", server.url)
            worker = [*ourselves, "worker", "--concurrency", str(workers), "--ready-file", str(worker_ready)]
            children.start("worker", worker, grace=_GRACE["worker"], log=log("worker"))
            children.start("api", [*ourselves, "api"], grace=_GRACE["api"], log=log("api"))
            url = f"http://{_reachable(host)}:{port}"
            if not children.wait_until(worker_ready.exists, "worker", _READY_TIMEOUT):
                return
            with httpx.Client(timeout=5, trust_env=False) as client:
                if not children.wait_until(lambda: _is_ready(client, url), "api", _READY_TIMEOUT):
                    return
            print(f"Ray History Server is ready at {url} (Ctrl-C ends it)", flush=True)
            if collect:
                print(HOW_RAY_IS_STARTED, flush=True)
            if fetch_pages:
                children.start("fetch", [*ourselves, *_fetch_command(pages)], grace=1.0, errand=True)
            elif not Builds(str(pages)).of(None):
                command = f"ray-history {shlex.join(_fetch_command(pages))}"
                print(f"Sessions open on plain pages. For the Ray dashboard's own, also while this runs: {command}", flush=True)
            children.look_after(lambda said: print(f"ray-history: {said}", file=sys.stderr, flush=True))
        finally:
            children.end()
            worker_ready.unlink(missing_ok=True)


def _fetch_command(pages: Path) -> list[str]:
    return ["dashboard", "fetch", *([] if pages == default_builds_dir() else ["--directory", str(pages)])]


def _wants_pages(pages: Path) -> bool:
    """Without the Ray dashboard's own pages there are only plain ones: shall they be fetched? Asked on a terminal only."""
    if Builds(str(pages)).of(None) or not sys.stdin.isatty():
        return False
    return typer.confirm("The Ray dashboard's own pages are not here yet. Fetch them in the background by pip (75 MB)?", default=True)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _reachable(host: str) -> str:
    """The host to write in a URL: a wildcard address listens everywhere but is no place to go to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _set(name: str, value: object) -> None:
    """Children read the same environment, so an option is a setting for all of them."""
    if value not in (None, ""):
        os.environ[f"RAY_HISTORY_{name}"] = str(value)
