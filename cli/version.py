"""`ray-history version`."""

from __future__ import annotations

import platform
from importlib import metadata

VERSION = metadata.version("ray-history-server")


def version() -> None:
    """Print the version of this program and of the Python that runs it."""
    print(f"ray-history {VERSION} (Python {platform.python_version()})")
