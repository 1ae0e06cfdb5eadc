"""`ray-history version`."""

from __future__ import annotations

import platform
from importlib import metadata

import typer

VERSION = metadata.version("ray-history-server")


def print_version(wanted: bool) -> None:
    """For the option `--version`, which ends the command."""
    if wanted:
        version()
        raise typer.Exit


def version() -> None:
    """Print the version of this program and of the Python that runs it."""
    print(f"ray-history {VERSION} (Python {platform.python_version()})")
