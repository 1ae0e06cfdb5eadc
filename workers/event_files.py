"""Which files a load reads: one recursive listing of the session, sorted by what each file is for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain

from shared.collector_documents import REPORT_NAME, decode_report
from shared.errors import ObjectNotFound, SessionDeleted, StorageUnavailable
from shared.layout import (
    data_prefixes,
    endpoint_of,
    is_event_file,
    key_below,
    marker_key,
    old_marker_key,
    session_of_marker,
    session_of_old_marker,
)
from shared.sessions import Session
from shared.storage.port import ObjectInfo, Storage
from shared.storage.read_ahead import Answer
from workers.load_run import LoadRun
from workers.log_pieces import LogPieces, files_ahead, is_wanted
from workers.sibling_sessions import METADATA, sibling_metadata

_UNREADABLE = "bad_json"


def read_collector_reports(run: LoadRun, storage: Storage, reports: Sequence[ObjectInfo]) -> dict[str, str]:
    """Record every loss that the `reports` name, and each report that cannot be read: it may have named some.

    Returns Ray's temporary directory by node, of those that name theirs.
    """
    temp_dirs: dict[str, str] = {}
    for file, content in storage.read_many(reports):
        if not isinstance(content, bytes):
            run.loss(file.key, content.code, str(content))
            continue
        try:
            report = decode_report(content)
        except ValueError as exc:
            run.loss(file.key, _UNREADABLE, f"no report of a collector: {exc}")
            continue
        if report.temp_dir:
            temp_dirs[report.node] = report.temp_dir
        node = file.key.rpartition("/")[0]
        for loss in report.losses:
            times = f" ({loss.count} times)" if loss.count > 1 else ""
            run.loss(f"{node}/{loss.file or loss.code}", loss.code, f"the collector says: {loss.message}{times}")
        if report.losses_left_out:
            run.loss(file.key, "more_losses", f"the collector counted {report.losses_left_out} more losses")
    return temp_dirs


# Directories of logs that no load looks into.
_OTHER_LOGS = re.compile(r"[^/]+/logs/(?!events/)[^/]+/")
# Bytes of answers, and of all log event files, that a load looks at. Live keeps 10,000 log events of a job.
_LARGEST_ANSWER, _LOG_EVENTS_READ = 16 << 20, 32 << 20
_LOG_EVENTS = "*/logs/events/event_*.log"


@dataclass(slots=True)
class SessionFiles:
    """Event files, stored dashboard answers by the path they answer, log event files, the few log files that a load looks into.

    `temp_dirs`: Ray's temporary directory by node, where a collector's report says it. `others`: how many more files there are.
    """

    events: list[ObjectInfo] = field(default_factory=list)
    endpoints: dict[str, ObjectInfo] = field(default_factory=dict)
    log_events: list[ObjectInfo] = field(default_factory=list)
    logs: list[ObjectInfo] = field(default_factory=list)
    reports: list[ObjectInfo] = field(default_factory=list)
    temp_dirs: dict[str, str] = field(default_factory=dict)
    others: int = 0

    @property
    def none(self) -> bool:
        """Is there nothing at all?"""
        return not (self.others or self.events or self.endpoints or self.log_events or self.logs or self.reports)

    def digest(self) -> str:
        """Of the names and sizes of all that a snapshot, or its losses, are made of: another one means that there is more."""
        made_of = [*self.events, *self.endpoints.values(), *self.log_events, *self.logs, *self.reports]
        # Sorted: not every store lists in the order of keys.
        text = "\n".join(sorted(f"{file.key} {file.size}" for file in made_of))
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """Contents: stored dashboard answers by path, log event files by their key below the session; pieces of logs are read when asked for.

    `sibling_metadata` is another session's `cluster_metadata`, for one whose collector stored none. `files`: how many there are in all.
    `temp_dirs`: as in `SessionFiles`.
    """

    endpoints: dict[str, bytes]
    log_events: list[tuple[str, bytes]]
    logs: LogPieces
    sibling_metadata: bytes | None = None
    files: int = 0
    temp_dirs: dict[str, str] = field(default_factory=dict)


def list_files(run: LoadRun, storage: Storage) -> SessionFiles:
    """Raises StorageUnavailable: a session that could not be listed is not loaded at all. SessionDeleted: there is nothing to load."""
    run.progress("listing")

    def unreadable(directory: ObjectInfo) -> None:
        run.loss(directory.key, StorageUnavailable.code, directory.unreadable)

    files = sort_files(run.session, chain.from_iterable(map(storage.list, data_prefixes(run.session))), unreadable)
    if files.none and not run.losses()[1] and not _is_marked(storage, run.session):
        raise SessionDeleted(f"the bucket holds nothing of {run.session.key} any more")
    files.temp_dirs = read_collector_reports(run, storage, files.reports)
    run.progress(files_total=len(files.events), bytes_total=sum(file.size for file in files.events))
    return files


def _is_marked(storage: Storage, session: Session) -> bool:
    """Only a marker makes a session of nothing: what was listed a moment ago may be deleted by now."""
    unowned = replace(session, owner_kind=None, owner_name=None)
    for marker in {marker_key(session), marker_key(unowned), old_marker_key(session)}:
        found = (session_of_marker(info.key) or session_of_old_marker(info.key) for info in storage.list(marker.rpartition("/")[0] + "/"))
        if any(one and one.key == session.key for one in found):
            return True
    return False


def sort_files(session: Session, listing: Iterable[ObjectInfo], unreadable: Callable[[ObjectInfo], None]) -> SessionFiles:
    """By what each file is for. `unreadable` is told of directories that may not be listed, if a load would look into them."""
    files = SessionFiles()
    for file in listing:
        below = key_below(session, file.key)
        if file.unreadable:
            if not _OTHER_LOGS.match(below):
                unreadable(file)
        elif is_event_file(below):
            files.events.append(file)
        elif (path := endpoint_of(below)) is not None:
            files.endpoints[path] = file
        elif fnmatchcase(below, _LOG_EVENTS):
            files.log_events.append(file)
        elif is_wanted(below):
            files.logs.append(file)
        elif below.endswith("/" + REPORT_NAME) and below.count("/") == 1:
            files.reports.append(file)
        else:
            files.others += 1
    return files


def read_stored(run: LoadRun, storage: Storage, files: SessionFiles) -> Stored:
    """Small files that are no event files, all of them asked for at once. They never hold a load up: what can't be read is recorded as a
    loss.

    Neither are they larger than what fits in memory: of a large log event file the end is read, a large answer is a loss.
    """
    session = run.session
    logs = {key_below(session, file.key): file for file in files.logs}
    ahead = {file.key: file for file in files_ahead(logs)}
    with ThreadPoolExecutor(1, thread_name_prefix="siblings") as reader:
        # Its few calls wait for each other.
        sibling = None if METADATA in files.endpoints else reader.submit(copy_context().run, sibling_metadata, storage, session)
        contents: dict[str, bytes] = {}
        wanted = [*_answers(run, files), *_log_events(run, storage, files, contents)]
        read: dict[str, Answer] = {}
        for file, data in storage.read_many([*wanted, *ahead.values()]):
            if file.key in ahead:
                read[file.key] = data
            elif isinstance(data, bytes):
                contents[file.key] = data
            else:
                run.loss(file.key, data.code, str(data))
    return Stored(
        {path: contents[file.key] for path, file in files.endpoints.items() if file.key in contents},
        [(key_below(session, file.key), contents[file.key]) for file in files.log_events if file.key in contents],
        LogPieces(storage, logs, run.loss, read),
        sibling.result() if sibling else None,
        len(files.endpoints) + len(files.log_events) + len(files.logs) + files.others,
        files.temp_dirs,
    )


def _answers(run: LoadRun, files: SessionFiles) -> Iterator[ObjectInfo]:
    """Stored answers to read."""
    for file in files.endpoints.values():
        if file.size <= _LARGEST_ANSWER:
            yield file
        else:
            run.loss(file.key, "file_too_large", f"a stored answer of {file.size} bytes")


def _log_events(run: LoadRun, storage: Storage, files: SessionFiles, contents: dict[str, bytes]) -> Iterator[ObjectInfo]:
    """Log event files to read. The end of a large one is read here, into `contents`."""
    room = _LOG_EVENTS_READ
    for file in sorted(files.log_events, key=lambda file: file.size):
        if not file.size:
            # One for each worker process that ever ran: most are empty, and each read costs a request.
            contents[file.key] = b""
        elif file.size <= room:
            yield file
        else:
            run.loss(file.key, "file_too_large", f"only the last {room} of its {file.size} bytes were read")
            try:
                contents[file.key] = storage.read_range(file.key, file.size - room, room).partition(b"\n")[2]
            except (ObjectNotFound, StorageUnavailable) as exc:
                run.loss(file.key, exc.code, str(exc))
        room = max(0, room - file.size)
