"""Where the processes of one API or worker keep their metrics so that one page adds them up.

prometheus_client decides when it is imported whether values lie in files: `share_between_processes` is for processes started later.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


def share_between_processes() -> Path:
    """Processes that are started from now on keep their metrics in a new directory, below the one that the environment names if it does."""
    directory = tempfile.mkdtemp(prefix="ray-history-metrics-", dir=os.environ.get(_VARIABLE))
    os.environ[_VARIABLE] = directory
    return Path(directory)


def shared_directory() -> Path | None:
    """Where this process and its siblings keep their metrics; None for a process that is alone."""
    given = os.environ.get(_VARIABLE)
    return Path(given) if given else None


def forget_all() -> None:
    """At the end of all processes that share it."""
    if directory := shared_directory():
        shutil.rmtree(directory, ignore_errors=True)


def forget_dead(directory: Path) -> None:
    """Gauges of processes that were killed would be added up for ever."""
    for file in directory.glob("gauge_live*.db"):
        found = _LIVE_FILE.fullmatch(file.name)
        if found and not _runs(int(found[1])):
            file.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
