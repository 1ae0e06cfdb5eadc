"""`ray-history collect`: the collector beside a Ray node. The options become settings; then the process becomes the collector."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import preflight
from cli.collect_check import check_node
from shared.settings import CollectSettings, Settings
from shared.storage.factory import open_writer, storage_parts


def collect(
    storage: Annotated[
        str, typer.Option(help="Where the history goes: a storage URL or a directory.", envvar="RAY_HISTORY_STORAGE", show_default=False)
    ] = "",
    cluster: Annotated[str | None, typer.Option(help="Name of this Ray cluster.  [default: ray]", show_default=False)] = None,
    namespace: Annotated[str | None, typer.Option(help="Its namespace.  [default: default]", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port for Ray's events.  [default: 8084]", min=1, max=65535)] = None,
    ray_dir: Annotated[str | None, typer.Option(help="Ray's temporary directory.  [default: /tmp/ray]", show_default=False)] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Where events wait for their upload.  [default: history-collector in Ray's]", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing on this node, and why nothing arrives.")] = False,
) -> int:
    """Collect the history of the Ray node on this machine, until SIGTERM.

    One per Ray node, started before or after Ray, which must have the environment that `ray-history ray-env` prints.
    """
    url = preflight.storage_url(storage)
    use_storage(url)
    for name, value in (
        ("COLLECT_CLUSTER", cluster),
        ("COLLECT_NAMESPACE", namespace),
        ("COLLECT_PORT", port),
        ("COLLECT_RAY_DIR", ray_dir and str(Path(ray_dir).expanduser().absolute())),
        ("COLLECT_DIR", data_dir and str(Path(data_dir).expanduser().absolute())),
    ):
        if value:
            os.environ[f"RAY_HISTORY_{name}"] = str(value)
    settings = Settings.from_environment()
    if check:
        return check_node(settings)
    if storage and "://" not in storage:
        Path(storage_parts(url)[2]).mkdir(parents=True, exist_ok=True)
    check_writable(settings)
    become_collector()
    return 1


def use_storage(url: str) -> None:
    """An option is a setting: what reads the settings finds it there."""
    if url:
        os.environ["RAY_HISTORY_STORAGE"] = url


HOW_RAY_IS_STARTED = """Ray started on this machine like this is collected:  eval "$(ray-history ray-env)"; ray start --head"""


def prepare_collecting(data_directory: Path) -> None:
    """For `up --collect`: settings that all its processes share. Raises Failed, SettingsError, StorageUnavailable."""
    if not os.environ.get("RAY_HISTORY_STORAGE"):
        bucket = data_directory / "history"
        bucket.mkdir(parents=True, exist_ok=True)
        os.environ["RAY_HISTORY_STORAGE"] = bucket.as_uri()
    settings = Settings.from_environment()
    given = os.environ.get
    # What its own collector announces, on this machine, needs no further trust.
    os.environ["RAY_HISTORY_ANNOUNCED"] = given("RAY_HISTORY_ANNOUNCED", "true")
    os.environ["RAY_HISTORY_COLLECT_ANNOUNCE"] = given("RAY_HISTORY_COLLECT_ANNOUNCE", settings.collect.collect_dashboard)
    # Ctrl-C is not to wait for a Ray that goes on.
    os.environ["RAY_HISTORY_COLLECT_LINGER"] = given("RAY_HISTORY_COLLECT_LINGER", "0")
    preflight.check_port(settings.collect.collect_host, settings.collect.collect_port)
    check_writable(settings)


def check_writable(settings: Settings) -> None:
    """Raises SettingsError or StorageUnavailable with one clear line."""
    writer = open_writer(settings.storage)
    try:
        writer.check()
    finally:
        writer.close()


def become_collector() -> None:
    """The command line's own modules would stay in memory for as long as the node lives."""
    os.execv(sys.executable, [sys.executable, "-m", "collector"])  # noqa: S606 - no shell wanted


def events_address(settings: CollectSettings) -> str:
    """What Ray is to post its events to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.collect_host, settings.collect_host)
    return f"http://{host}:{settings.collect_port}/v1/events"
