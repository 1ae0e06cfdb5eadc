"""Names of one node's log files, below its `logs/`: which there are, their categories, and which of them a name or a glob means.

Mirrors Ray's `LogsManager._categorize_log_files` and `LogAgentV1Grpc._resolve_filename`, and `pathlib.Path.glob`, which live's agents
match globs with: component by component, here with `fnmatch`, whose regular expressions do not backtrack over `*`.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable

from shared.storage.port import ObjectInfo

_MAX_PATTERN = 1024

Part = re.Pattern[str] | None


class BadGlob(ValueError):
    """A pattern for which live's agent fails: empty, absolute, or leading out of the logs. The message says so."""


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match, in the given order. A directory's name ends in `/`. Raises BadGlob."""
    matches = matcher(pattern)
    return [name for name in names if matches(name)]


def matcher(pattern: str) -> Callable[[str], bool]:
    """`*`, `?`, `[seq]`, `[!seq]` within one part of a path; `**` as a whole part: any number of them; a final `/`: directories."""
    given = [part for part in pattern.split("/") if part not in ("", ".")]
    if not given or pattern.startswith("/") or ".." in given or len(pattern) > _MAX_PATTERN or "\0" in pattern:
        raise BadGlob(f"glob={pattern[:80]!r}: expected a pattern of names below the logs, such as *.out or **/worker-*")
    # Several `**` in a row are one: each name would be tried at every one of them.
    told = [part for part, after in zip(given, [*given[1:], ""], strict=True) if not part == after == "**"]
    parts: list[Part] = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in told]
    only_directories = pattern.endswith("/")

    def matches(name: str) -> bool:
        return (name.endswith("/") or not only_directories) and _matches(parts, name.rstrip("/").split("/"))

    return matches


def _matches(parts: list[Part], path: list[str]) -> bool:
    """Which prefixes of the pattern match the path so far: no recursion, so many `**` cost no more than their number."""
    states = _skipping({0}, parts)
    for piece in path:
        after = set()
        for state in states:
            if state == len(parts):
                continue
            part = parts[state]
            if part is None:
                after.add(state)
            elif part.match(piece):
                after.add(state + 1)
        states = _skipping(after, parts)
        if not states:
            return False
    return len(parts) in states


def _skipping(states: set[int], parts: list[Part]) -> set[int]:
    """With those reached by letting `**` stand for nothing."""
    for state in sorted(states):
        at = state
        while at < len(parts) and parts[at] is None:
            at += 1
            states.add(at)
    return states


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
