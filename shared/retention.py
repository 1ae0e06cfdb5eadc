"""Deleting stored sessions that are old, so that it can be interrupted at any point and taken up again.

Old is what nothing was added to for long: a cluster may run for months. Needs write rights to the bucket; reading never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from shared.collector_documents import REPORT_NAME, REPORT_VERSION, Loss, Report
from shared.errors import KubernetesUnavailable, ObjectNotFound, SessionDeleted, SessionIsLive, StorageUnavailable
from shared.layout import METADATA_PREFIX, marker_key, old_prefix, session_of_marker, session_prefix
from shared.live.heads import Heads
from shared.live.port import LiveDirectory
from shared.live.resolver import ensure_dead
from shared.sessions import Session
from shared.settings import AGE, LiveSettings
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
# Stands beside the nodes of a session while it is deleted.
_DELETION = "deletion"
_AN_HOUR = timedelta(hours=1)


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
    if not re.fullmatch(AGE, text):
        raise ValueError(f"{text[:20]!r} is no age: write a number and h, d or w, such as 90d")
    return int(text[:-1]) * _UNITS[text[-1]]


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session with all its places. `names`: it under each name that a marker or a directory has; it has two when its collector learned of
    its owner while it ran.
    """

    names: tuple[Session, ...]

    @property
    def session(self) -> Session:
        return next((name for name in self.names if name.owner_kind), self.names[0])

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Data of a marker of today may lie where KubeRay put it before 1.7, too."""
        return tuple(dict.fromkeys([*map(session_prefix, self.names), old_prefix(self.session)]))

    @property
    def notice(self) -> str:
        """The key of the report by which loads know that the deletion was begun."""
        return f"{self.prefixes[0]}{_DELETION}/{REPORT_NAME}"

    def objects(self, storage: Storage) -> Iterator[ObjectInfo]:
        """Raises StorageUnavailable, also for a directory that may not be listed: what is in it may be new."""
        for prefix in self.prefixes:
            for info in storage.list(prefix):
                if info.unreadable:
                    raise StorageUnavailable(f"{info.key}: {info.unreadable}")
                yield info


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

    def old_sessions(self, now: datetime) -> list[tuple[StoredSession, datetime]]:
        """Those that began before their namespace's limit, and the limit; the oldest first. Raises StorageUnavailable.

        Those without a marker, too, as a head leaves them that was killed hard; but not those in KubeRay's layout up to v1.6.
        """
        marked = (session for info in self._storage.list(METADATA_PREFIX) if (session := session_of_marker(info.key)))
        names: dict[str, dict[str, Session]] = {}
        for name in [*marked, *self._with_directories()]:
            names.setdefault(name.key, {}).setdefault(str(name.ref), name)
        found = [StoredSession(tuple(of_one.values())) for of_one in names.values()]
        limits = [(one, self._policy.before(one.session.namespace, now)) for one in found]
        old = [(one, limit) for one, limit in limits if limit is not None and one.session.created < limit]
        return sorted(old, key=lambda pair: (pair[0].session.created, str(pair[0].session.ref)))

    def _with_directories(self) -> list[Session]:
        try:
            return [one for one in walked(self._storage) if one.prefixes == (session_prefix(one),)]
        except StorageUnavailable as exc:
            # Who may list only some prefixes deletes what has a marker.
            log.warning("sessions without markers not looked for", error=str(exc))
            return []

    def apply(self, stored: StoredSession, limit: datetime) -> Verdict | None:
        """Delete it, unless something was added since `limit` (None), or it runs, or is to be kept. Raises StorageUnavailable."""
        content, session = content_of(self._storage, stored), stored.session
        if content.last_event >= limit:
            return None
        try:
            ensure_dead(session, *self._live)
        except (SessionIsLive, KubernetesUnavailable) as exc:
            return Verdict(session, content, str(exc))
        if self._policy.keep_failed and has_failed_job(self._storage, content):
            return Verdict(session, content, "a job of it failed")
        if self._writer is not None:
            delete_session(self._storage, self._writer, stored)
        return Verdict(session, content, "")


@dataclass(frozen=True, slots=True)
class Content:
    """What a session holds: objects, their bytes, the end of the hour of its last event file, and where its jobs' ends are logged."""

    objects: int
    bytes: int
    last_event: datetime
    job_logs: tuple[str, ...]


def content_of(storage: Storage, stored: StoredSession) -> Content:
    """One listing. Raises StorageUnavailable."""
    count = size = 0
    last = stored.session.created
    logs = []
    for info in stored.objects(storage):
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


def delete_session(storage: Storage, writer: StorageWriter, stored: StoredSession) -> None:
    """Everything of it, its markers last: as long as something is left, it is found again. Raises StorageUnavailable.

    Whoever loads it meanwhile, or after an interruption, is told by a report that files may be missing.
    """
    try:
        writer.put(stored.notice, _report(stored.session))
    except StorageUnavailable as exc:
        # Who may only delete does so all the same.
        log.warning("deletion not announced", session=stored.session.key, error=str(exc))
    batch: list[str] = []
    for info in stored.objects(storage):
        if info.key == stored.notice:
            continue
        batch.append(info.key)
        if len(batch) >= _AT_ONCE:
            writer.delete(batch)
            batch = []
    writer.delete(batch)
    writer.delete([stored.notice])
    writer.delete([marker_key(name) for name in stored.names])


def _report(session: Session) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    loss = Loss("", SessionDeleted.code, f"the deletion of this session was begun at {now}: files of it may be gone")
    return msgspec.json.encode(Report(REPORT_VERSION, _DELETION, session.session, _DELETION, now, losses=[loss]))


def _time(hour: str, otherwise: datetime) -> datetime:
    """The end of that hour."""
    try:
        return datetime.strptime(hour, "%Y-%m-%d-%H").replace(tzinfo=UTC) + _AN_HOUR
    except (ValueError, OverflowError):
        return otherwise
