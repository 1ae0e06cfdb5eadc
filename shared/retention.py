"""Deleting stored sessions that are old, so that it can be interrupted at any point and taken up again.

Old is what nothing was added to for long: a cluster may run for months. Needs write rights to the bucket; reading never does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from shared.errors import KubernetesUnavailable, ObjectNotFound, SessionIsLive, StorageUnavailable
from shared.layout import METADATA_PREFIX, marker_key, old_prefix, session_of_marker, session_prefix
from shared.live.heads import Heads
from shared.live.port import LiveDirectory
from shared.live.resolver import ensure_dead
from shared.sessions import Session
from shared.settings import LiveSettings
from shared.storage.port import ObjectInfo, Storage, StorageWriter
from shared.unmarked_sessions import walked

log = structlog.get_logger()

_AT_ONCE = 1000
_HOUR = re.compile(r"-(\d{4}-\d\d-\d\d-\d\d)(?:-\d+)?(?:\.jsonl)?(?:\.gz)?$")
_JOBS_LOG = "/events/event_JOBS.log"
# Ray's JobManager: "Completed a ray job {id} with a status FAILED."
_FAILED = b" with a status FAILED"
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_ANY = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long sessions are kept after their last event, by namespace ("": all others); None, or no age at all: for ever."""

    ages: Mapping[str, timedelta | None]
    keep_failed: bool = False

    @classmethod
    def of(cls, text: str, *, keep_failed: bool = False) -> Policy:
        """From `90d,team-a=2w,team-b=never`. Raises ValueError."""
        ages = {}
        for item in filter(None, map(str.strip, text.split(","))):
            namespace, _, said = item.rpartition("=")
            ages[namespace.strip()] = None if said.strip() == "never" else age(said.strip())
        return cls(ages, keep_failed)

    def before(self, namespace: str, now: datetime) -> datetime | None:
        """Sessions of this namespace go when nothing was added since then; None: they stay."""
        kept = self.ages.get(namespace, self.ages.get(_ANY))
        return None if kept is None else now - kept


def age(text: str) -> timedelta:
    """Of `90d`, `12w` or `48h`. Raises ValueError."""
    if not re.fullmatch(r"\d+[hdw]", text):
        raise ValueError(f"{text!r} is no age: write a number and h, d or w, such as 90d")
    return int(text[:-1]) * _UNITS[text[-1]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of an old session: `kept` says why it stays; empty: it goes, or has gone."""

    session: Session
    content: Content
    kept: str


class Retention:
    """A policy for one bucket. `writer`: None only judges."""

    def __init__(
        self, policy: Policy, storage: Storage, writer: StorageWriter | None, live: tuple[LiveDirectory, Heads, LiveSettings]
    ) -> None:
        self._policy = policy
        self._storage = storage
        self._writer = writer
        self._live = live

    def old_sessions(self, now: datetime) -> list[tuple[Session, datetime]]:
        """Those that began before their namespace's limit, and the limit; the oldest first. Raises StorageUnavailable.

        Those without a marker, too, as a head leaves them that was killed hard; but not those in KubeRay's layout up to v1.6.
        """
        marked = {session for info in self._storage.list(METADATA_PREFIX) if (session := session_of_marker(info.key))}
        found = [*marked, *self._unmarked({session.key for session in marked})]
        limits = [(session, self._policy.before(session.namespace, now)) for session in found]
        old = [(session, limit) for session, limit in limits if limit is not None and session.created < limit]
        return sorted(old, key=lambda one: (one[0].created, str(one[0].ref)))

    def _unmarked(self, marked: Collection[str]) -> list[Session]:
        try:
            return [one for one in walked(self._storage) if one.prefixes == (session_prefix(one),) and one.key not in marked]
        except StorageUnavailable as exc:
            # Who may list only some prefixes deletes what has a marker.
            log.warning("sessions without markers not looked for", error=str(exc))
            return []

    def apply(self, session: Session, limit: datetime) -> Verdict | None:
        """Delete it, unless something was added since `limit` (None), or it runs, or is to be kept. Raises StorageUnavailable."""
        content = content_of(self._storage, session)
        if content.last_event >= limit:
            return None
        try:
            ensure_dead(session, *self._live)
        except (SessionIsLive, KubernetesUnavailable) as exc:
            return Verdict(session, content, str(exc))
        if self._policy.keep_failed and has_failed_job(self._storage, content):
            return Verdict(session, content, "a job of it failed")
        if self._writer is not None:
            delete_session(self._storage, self._writer, session)
        return Verdict(session, content, "")


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
