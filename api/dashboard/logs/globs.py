"""Glob patterns over the names of log files, as live's agents match them: Python's `pathlib.Path.glob`.

Component by component with `fnmatch`, whose regular expressions do not backtrack over `*`: a pattern is user input.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable

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
    parts: list[Part] = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in given]
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
