"""`ray-history version`."""

from __future__ import annotations

import platform
from importlib import metadata
from importlib.util import find_spec

import typer

from shared.settings import LoadSettings

VERSION = metadata.version("ray-history-server")


def print_version(wanted: bool) -> None:
    """For the option `--version`, which ends the command."""
    if wanted:
        version()
        raise typer.Exit


def version() -> None:
    """Print the version of this program, of the Python that runs it, and which engine reads task events here."""
    native = LoadSettings().engine != "python" and find_spec("ray_history_core") is not None
    print(f"ray-history {VERSION} (Python {platform.python_version()}, {'native' if native else 'python'} engine)")
