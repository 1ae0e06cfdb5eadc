"""Where commands keep their data unless they are told otherwise: XDG's directories of the user."""

from __future__ import annotations

import os
from pathlib import Path


def default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "ray-history"


def config_dir() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "ray-history"


def default_builds_dir() -> Path:
    """Where builds of the Ray dashboard's frontend are."""
    return default_data_dir() / "dashboard"
