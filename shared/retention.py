"""Deleting stored sessions that are old, so that it can be interrupted at any point and taken up again.

Old is what nothing was added to for long: a cluster may run for months. Needs write rights to the bucket; reading never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import ObjectNotFound
from shared.layout import marker_key, old_prefix, session_prefix
from shared.sessions import Session
from shared.storage.port import ObjectInfo, Storage, StorageWriter

_AT_ONCE = 1000
_HOUR = re.compile(r"-(\d{4}-\d\d-\d\d-\d\d)(?:-\d+)?(?:\.jsonl)?(?:\.gz)?$")
_JOBS_LOG = "/events/event_JOBS.log"
# Ray's JobManager: "Completed a ray job {id} with a status FAILED."
_FAILED = b" with a status FAILED"


@dataclass(frozen=True, slots=True)
class Content:
    """What a session holds: objects and their bytes, when the last event file was begun, and where its jobs' ends are logged."""

    objects: int
    bytes: int
    last_event: datetime
    job_logs: tuple[str, ...]


def content_of(storage: Storage, session: Session) -> Content:
    """One listing. Raises StorageUnavailable."""
    count = size = 0
    last = session.created
    logs = []
    for info in _objects(storage, session):
        count, size = count + 1, size + info.size
        if "_events/" in info.key and (hour := _HOUR.search(info.key)):
            last = max(last, _time(hour[1], last))
        elif info.key.endswith(_JOBS_LOG):
            logs.append(info.key)
    return Content(count, size, last, tuple(logs))


def has_failed_job(storage: Storage, content: Content) -> bool:
    """Did one of its submitted jobs fail, by Ray's own log of them? Raises StorageUnavailable."""
    for key in content.job_logs:
        end = b""
        try:
            for chunk in storage.stream(key):
                if _FAILED in end + chunk:
                    return True
                end = chunk[-len(_FAILED) :]
        except ObjectNotFound:
            continue
    return False


def delete_session(storage: Storage, writer: StorageWriter, session: Session) -> None:
    """Everything of it, the marker last: as long as something is left, it is found again. Raises StorageUnavailable."""
    batch: list[str] = []
    for info in _objects(storage, session):
        batch.append(info.key)
        if len(batch) >= _AT_ONCE:
            writer.delete(batch)
            batch = []
    writer.delete(batch)
    writer.delete([marker_key(session)])


def _objects(storage: Storage, session: Session) -> Iterator[ObjectInfo]:
    """Data of the same marker may lie where KubeRay put it before 1.7, too."""
    for prefix in (session_prefix(session), old_prefix(session)):
        yield from storage.list(prefix)


def _time(hour: str, otherwise: datetime) -> datetime:
    try:
        return datetime.strptime(hour, "%Y-%m-%d-%H").replace(tzinfo=UTC)
    except ValueError:
        return otherwise
