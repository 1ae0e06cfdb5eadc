"""Builds of the Ray dashboard's frontend, side by side: each session gets the one of its own Ray version.

A build is `ray/dashboard/client/build` of a `ray` wheel, as `ray-history dashboard fetch` takes it. Its files are served as they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_INDEX = "index.html"
Version = tuple[int, ...]


class Builds:
    """A directory with one build per Ray version below it (`2.60.0/index.html`), or one that is a build itself.

    It is looked into at each call: builds may be fetched while the server runs.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory).expanduser() if directory else None

    def of(self, ray_version: str | None) -> Path | None:
        """The build for a session of that version: its own, else of the nearest newer one, else the newest; None: there is none.

        A newer frontend asks nothing that an older session cannot answer; an older one may not know what a newer session holds.
        """
        builds = self._by_version()
        if not builds:
            return None
        wanted = _version(ray_version or "")
        newer = [version for version in builds if wanted and version >= wanted]
        return builds[min(newer) if newer else max(builds)]

    def holding(self, name: str) -> Path | None:
        """A build with that file. Names below `static/` tell their content, so any build's will do; the newest has the best icon."""
        builds = self._by_version()
        return next((builds[version] for version in sorted(builds, reverse=True) if os.path.isfile(builds[version] / name)), None)  # noqa: PTH113 - also of names that no file can have

    def _by_version(self) -> dict[Version, Path]:
        if self._directory is None:
            return {}
        if (self._directory / _INDEX).is_file():
            return {_version(self._directory.name): self._directory}
        try:
            below = list(self._directory.iterdir())
        except OSError:
            return {}
        return {version: path for path in below if (version := _version(path.name)) and (path / _INDEX).is_file()}


def _version(text: str) -> Version:
    """The numbers that a version begins with; () for none."""
    found = _NUMBERS.match(text)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
