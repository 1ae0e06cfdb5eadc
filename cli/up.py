"""`ray-history up`: an embedded Redis-compatible server, a worker and the API, in one command on one machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.pages.builds import Builds
from cli import allocator, preflight
from cli.begin import begin
from cli.collect import HOW_RAY_IS_STARTED, prepare_collecting
from cli.data_directory import default_builds_dir, default_data_dir
from cli.embedded_server import embedded_program
from cli.storage_layout import check_storage
from cli.version import VERSION
from shared.broker import check_broker
from shared.settings import Settings
from shared.store.start_check import check_redis


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
) -> int:
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
    return begin(
        "cli.run_up",
        # Its worker is forked from it.
        allocator.WORKER,
        data_dir=str(chosen_dir),
        host=address,
        port=chosen,
        workers=workers or min(os.cpu_count() or 1, 4),
        redis=None if redis_url else [embedded_program(), f"{VERSION}\n{settings.storage.storage}\n"],
        collecting=HOW_RAY_IS_STARTED if collect else "",
        logs=logs,
        pages=str(pages),
        fetch_pages=_wants_pages(pages),
    )


def _wants_pages(pages: Path) -> bool:
    """Without the Ray dashboard's own pages there are only plain ones: shall they be fetched? Asked on a terminal only."""
    if Builds(str(pages)).of(None) or not sys.stdin.isatty():
        return False
    return typer.confirm("The Ray dashboard's own pages are not here yet. Fetch them in the background by pip (75 MB)?", default=True)


def _set(name: str, value: object) -> None:
    """Children read the same environment, so an option is a setting for all of them."""
    if value not in (None, ""):
        os.environ[f"RAY_HISTORY_{name}"] = str(value)
