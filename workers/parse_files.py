"""Event files to records by range of task ids: one file after the other, in bounded memory, and never stopped by what a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.port import ObjectInfo, Storage
from workers.bad_data import Skipped
from workers.engine import engine_for
from workers.event_texts import UnreadableFile, texts
from workers.load_run import LoadRun
from workers.task_events.ranges import Ranges

# Larger files are streamed instead of read ahead.
_READ_AHEAD = 32 << 20
# Records in memory; what is beyond is handed on.
_RECORDS_HELD = 64 << 20


@dataclass(slots=True)
class Parsed:
    """The events of everything that is not a task (decoded, camelCase), and what was left out."""

    others: list[dict[str, Any]]
    skipped: Skipped


def parse(run: LoadRun, storage: Storage, files: Iterable[ObjectInfo], ranges: Ranges, hand_on: Callable[[list[bytes]], None]) -> Parsed:
    """`hand_on` gets the records of all ranges, as often as they become many. What can't be read is a loss, by name."""
    engine = engine_for(run.settings.engine)
    run.report(engine=engine.name)
    splitter = engine.splitter(ranges)
    run.progress("parsing")
    for file, content in _contents(storage, files):
        run.check()
        splitter.skipped.file = file.key
        events, skipped = splitter.events, splitter.skipped.total
        problem: ObjectNotFound | StorageUnavailable | UnreadableFile | None = None
        try:
            for text in texts(content, run.settings.max_line_bytes, run.settings.max_file_bytes):
                splitter.feed(text)
                if splitter.size > _RECORDS_HELD:
                    run.check()
                    hand_on(splitter.take())
        except (ObjectNotFound, StorageUnavailable, UnreadableFile) as exc:
            problem = exc
        if problem is None and splitter.events == events and splitter.skipped.total > skipped:
            problem = UnreadableFile("no_events", "not one of its lines could be read")
        if problem is not None:
            run.loss(file.key, problem.code, str(problem))
        run.progress(
            files_read=0 if problem else 1,
            files_failed=1 if problem else 0,
            bytes_read=file.size,
            events=splitter.events - events,
            events_skipped=splitter.skipped.total - skipped,
        )
    hand_on(splitter.take())
    return Parsed(splitter.others, splitter.skipped)


def _raising(problem: Exception) -> Iterator[bytes]:
    raise problem
    yield b""


def _contents(storage: Storage, files: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Iterable[bytes]]]:
    """Files with the chunks of their content, which may end in ObjectNotFound or StorageUnavailable."""
    small: list[ObjectInfo] = []
    large: list[ObjectInfo] = []
    for file in files:
        (small if file.size <= _READ_AHEAD else large).append(file)
    yield from ((file, (b"",)) for file in small if not file.size)
    for file, data in storage.read_many([file for file in small if file.size]):
        yield file, (data,) if isinstance(data, bytes) else _raising(data)
    for file in large:
        yield file, storage.stream(file.key)
