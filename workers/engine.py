"""Which engine makes task rows out of event files: the core in Rust where it is installed, or the plain Python one. Both give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from shared.ray.lineage import LineageActor
from shared.timeline import PythonTrace, Trace
from workers.bad_data import Skipped
from workers.entities.ends import TaskEnds
from workers.task_events.ranges import Ranges
from workers.task_events.split import Splitter
from workers.task_events.task_range import TaskRange, lineage, merge_range


class TextSplitter(Protocol):
    """Chunks of whole lines to records by range: see `task_events.split.Splitter`."""

    @property
    def events(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def others(self) -> list[dict[str, Any]]: ...

    @property
    def skipped(self) -> Skipped: ...

    def feed(self, text: bytes) -> None: ...

    def take(self) -> list[bytes]: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is "native" or "python". `lineage` takes what ranges left for one job, its actors by id, and what writes a `TaskSummaries`."""

    name: str
    splitter: Callable[[Ranges], TextSplitter]
    merge_range: Callable[[int, Iterable[bytes], TaskEnds], TaskRange]
    lineage: Callable[[Iterable[bytes], dict[str, LineageActor], Callable[[bytes], None]], None]
    new_trace: Callable[[], Trace]


PYTHON = Engine("python", Splitter, merge_range, lineage, PythonTrace)


class NoSuchEngine(Exception):
    """RAY_HISTORY_ENGINE asks for the core, and it is not installed."""


@cache
def engine_for(wanted: str) -> Engine:
    """`wanted` is RAY_HISTORY_ENGINE: "auto", "native" or "python". Raises NoSuchEngine."""
    if wanted == "python":
        return PYTHON
    try:
        from workers import native_engine  # noqa: PLC0415 - it needs the core
    except ImportError as exc:
        if wanted == "native":
            raise NoSuchEngine("RAY_HISTORY_ENGINE=native, and the core is not installed (pip install ./core)") from exc
        return PYTHON
    return Engine("native", native_engine.NativeSplitter, native_engine.merge_range, native_engine.lineage, native_engine.NativeTrace)
