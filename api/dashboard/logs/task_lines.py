"""Which bytes of a worker's log one task attempt wrote, for Ray before 2.58, which does not export all of it (`WHOLE_LOG_INFO`).

A worker writes `:task_name:{name}` to both its files before it runs a task. So an attempt's lines begin after the last such marker before
their exported end; without an end, after the marker that is as far down the file as the attempt is in the worker's history. Where that
is not sure, there is no answer: another task's lines would be worse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from api.dashboard.logs.content import LogFile
from shared.storage.gz import unpacked
from shared.storage.port import Storage

_MARKER = b":task_name:"
_LONGEST_NAME = 64 << 10
_BLOCK = 1 << 20
# How far back a start is looked for, and how much of a log is searched for all its markers.
_LOOK_BACK = 64 << 20
_SEARCHED = 256 << 20


class NotSure(LookupError):
    """The markers do not tell which lines are the attempt's."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Where a marker begins, where what follows its line begins, and the name in it."""

    start: int
    end: int
    name: bytes


def lines_before(storage: Storage, file: LogFile, name: str, end: int) -> LogFile:
    """The lines from the last marker before `end`, which must be one of `name`. Raises NotSure, ObjectNotFound, StorageUnavailable."""
    if file.key.endswith(".gz"):
        last = deque(_markers(storage, file, min(end, _SEARCHED)), maxlen=1)
        found = last[0] if last else None
    else:
        found = _last_marker(storage, file, end)
    if found is None or found.name != name.encode() or found.end > end:
        raise NotSure(f"no marker of {name!r} stands before byte {end}")
    return replace(file, start=found.end, end=end)


def lines_of_run(storage: Storage, file: LogFile, name: str, run: int, runs: int) -> LogFile:
    """The lines after the marker of a run: of `runs` that the worker had of tasks of that name, the one numbered `run` from 0.

    Raises NotSure, ObjectNotFound, StorageUnavailable.
    """
    if file.size > _SEARCHED:
        raise NotSure("the log is too large to look through")
    markers = list(_markers(storage, file, _SEARCHED))
    ours = [place for place, marker in enumerate(markers) if marker.name == name.encode()]
    if len(ours) != runs:
        raise NotSure(f"the log has {len(ours)} markers of {name!r}, and its worker {runs} such tasks")
    following = {place: after.start for place, (_, after) in enumerate(pairwise(markers))}
    return replace(file, start=markers[ours[run]].end, end=following.get(ours[run]))


def _last_marker(storage: Storage, file: LogFile, end: int) -> Marker | None:
    """Read backwards, in blocks that share enough for a marker to be whole in one."""
    stop = min(end, file.size)
    lowest = max(0, stop - _LOOK_BACK)
    after = b""
    while stop > lowest:
        start = max(lowest, stop - _BLOCK)
        block = storage.read_range(file.key, start, stop - start)
        place = (block + after).rfind(_MARKER, 0, len(block) + len(_MARKER) - 1)
        if place >= 0:
            text = block + after
            newline = text.find(b"\n", place)
            if newline < 0:
                return None
            return Marker(start + place, start + newline + 1, text[place + len(_MARKER) : newline])
        after, stop = (block + after)[:_LONGEST_NAME], start
    return None


def _markers(storage: Storage, file: LogFile, stop: int) -> Iterator[Marker]:
    """All that are complete before `stop`."""
    chunks: Iterable[bytes] = storage.stream(file.key)
    rest, at = b"", 0
    for chunk in unpacked(chunks) if file.key.endswith(".gz") else chunks:
        text = rest + chunk
        done = 0
        while (place := text.find(_MARKER, done)) >= 0:
            newline = text.find(b"\n", place)
            if newline < 0:
                break
            done = newline + 1
            if at + done > stop:
                return
            yield Marker(at + place, at + done, text[place + len(_MARKER) : newline])
        kept = max(done, len(text) - (_LONGEST_NAME if place >= 0 else len(_MARKER) - 1))
        at, rest = at + kept, text[kept:]
        if at > stop:
            return
