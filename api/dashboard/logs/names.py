"""Names of one node's log files, below its `logs/`: which there are, their categories, and how a name that was asked for is spelled.

Mirrors Ray's `LogsManager._categorize_log_files` and `LogAgentV1Grpc._resolve_filename`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from shared.storage.port import ObjectInfo

GZ = ".gz"
# Where Ray's log monitor moves the files of workers that ended, when there are many.
OLD = "old/"
_MAX_NAME = 900


def names_below(prefix: str, objects: Iterable[ObjectInfo]) -> list[str]:
    """Files, and the directories that hold them with a final `/`, sorted. Names are those of the bucket: users write `.gz` files, too."""
    names: set[str] = set()
    for found in objects:
        name = found.key.removeprefix(prefix)
        path = normal(name)
        if path is None or path != name.removesuffix("/"):
            continue
        # A key that ends in `/` is an empty directory, or one that may not be read.
        names.add(name)
        while path := posixpath.dirname(path):
            names.add(path + "/")
    return sorted(names)


def normal(name: str) -> str | None:
    """A relative name without `.`, `..` and doubled slashes; None when it leads out or could be no key."""
    if "\0" in name or len(name.encode(errors="replace")) > _MAX_NAME:
        return None
    path = posixpath.normpath(name.strip("/") or ".")
    return None if path == "." or path.split("/")[0] == ".." else path


def below_logs(filename: str, session: str) -> str | None:
    """The name below `logs/` of a file that was asked for by a relative or an absolute path; None when that is elsewhere.

    Absolute ones are Ray's own (a task's `stdout_file`): `{temp dir}/{session}/logs/...`.
    """
    if filename.startswith("/"):
        head, marker, tail = posixpath.normpath(filename).partition(f"/{session}/logs/")
        return normal(tail) if marker and head else None
    return normal(filename)


def shown_path(filename: str, session: str) -> str:
    """The path that live names in its errors."""
    return posixpath.normpath(posixpath.join(f"/tmp/ray/{session}/logs", filename))  # noqa: S108 - Ray's default, for a message


def categories(names: Iterable[str]) -> dict[str, list[str]]:
    """Live's answer: component to names."""
    result: dict[str, list[str]] = {}
    for name in names:
        result.setdefault(_category(name), []).append(name)
    return result


def _category(name: str) -> str:
    name = name.removesuffix(GZ)
    if "worker" in name and name.endswith(".out"):
        return "worker_out"
    if "worker" in name and name.endswith(".err"):
        return "worker_err"
    if "core-worker" in name and name.endswith(".log"):
        return "core_worker"
    if "core-driver" in name and name.endswith(".log"):
        return "driver"
    for part, category in _CATEGORIES:
        if part in name:
            return category
    return "internal"


_CATEGORIES = (
    ("raylet.", "raylet"),
    ("gcs_server.", "gcs_server"),
    ("log_monitor", "internal"),
    ("monitor", "autoscaler"),
    ("agent.", "agent"),
    ("dashboard.", "dashboard"),
)
