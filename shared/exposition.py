"""The metrics page of one API or worker: added up over its processes, through files that they share.

prometheus_client decides when it is imported whether values lie in such files, so `share_between_processes` comes before that.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


def share_between_processes() -> Path:
    """From now on this process and what it starts keep their metrics in one new, empty directory. Remove it with `forget_all`.

    A directory that the environment names is emptied instead: numbers of processes that are gone would never go away.
    """
    given = os.environ.get(_VARIABLE)
    directory = Path(given) if given else Path(tempfile.mkdtemp(prefix="ray-history-metrics-"))
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[_VARIABLE] = str(directory)
    return directory


def shared_directory() -> Path | None:
    """Where this process and its siblings keep their metrics; None for a process that is alone."""
    given = os.environ.get(_VARIABLE)
    return Path(given) if given else None


def forget_all(directory: Path) -> None:
    """At the end of all processes that share it."""
    shutil.rmtree(directory, ignore_errors=True)


def page(looked_up: Iterable[tuple[str, str, float]] = ()) -> tuple[bytes, str]:
    """The page in Prometheus' text format, and its content type. `looked_up`: (name, meaning, value) of gauges that are not counted here."""
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = REGISTRY
    if directory := shared_directory():
        _forget_dead(directory)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    text = generate_latest(registry)
    found = CollectorRegistry()
    for name, meaning, value in looked_up:
        found.register(_Once(GaugeMetricFamily(name, meaning, value)))
    return text + generate_latest(found), CONTENT_TYPE_LATEST


class _Once:
    def __init__(self, family: object) -> None:
        self._family = family

    def collect(self) -> Iterable[object]:
        return [self._family]


def _forget_dead(directory: Path) -> None:
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
