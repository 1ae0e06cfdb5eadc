"""The lister of the index of jobs: what is new, changed or gone, one worker at a time, and never an outage for an absence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakeredis import FakeRedis, FakeServer

from shared.errors import StorageUnavailable, StoreUnavailable
from shared.jobs import SessionJobs, job_of_row, unpack
from shared.layout import marker_key, old_prefix, session_prefix
from shared.sessions import Session
from shared.settings import JobIndexSettings
from shared.storage.port import ObjectInfo
from shared.store.job_index import JobIndex
from shared.store.keys import Keyspace
from tests.unit.test_job_look import EVENTS, Counted, _bucket, _ran
from workers.job_index.lister import JobLister

KEYS = Keyspace().job_index
OLD, NEW = (Session("default", "raycap", f"session_2026-11-{day}_10-00-00_000001_1") for day in (10, 20))
NOW = 1_795_990_000.0


class Bucket(Counted):
    """`away`: what a listing that begins so meets."""

    away = "-"

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix.startswith(self.away):
            raise StorageUnavailable("away")
        yield from super().list(prefix)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    for session in (OLD, NEW):
        _store(tmp_path, session, _ran(f"job-{session.session[16:18]}", "SUCCEEDED"))
    return Bucket(str(tmp_path))


def _store(root: Path, session: Session, log: bytes) -> None:
    _bucket(root, {EVENTS: log}, session)
    marker = root / marker_key(session)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _lister(bucket: Bucket, redis: FakeRedis, clock: Clock, **settings: int) -> JobLister:
    return JobLister(bucket, JobIndex(redis, Keyspace()), JobIndexSettings(**settings), clock)  # type: ignore[arg-type]


def _indexed(redis: FakeRedis) -> dict[str, list[str]]:
    entries = {key.decode(): unpack(entry) for key, entry in redis.hgetall(KEYS.entries).items()}
    return {key: [f"{job.id} {job.status}" for job in entry.jobs] for key, entry in entries.items()}


def test_every_session_is_read_once(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    lister = _lister(bucket, redis, clock)
    assert lister.run_once() == 0
    assert _indexed(redis) == {NEW.key: ["job-20 SUCCEEDED"], OLD.key: ["job-10 SUCCEEDED"]}
    reads = bucket.reads.total()
    clock.now += 86_400
    assert lister.run_once() == 0
    assert bucket.reads.total() == reads, "unchanged: listed, not read"
    assert all(redis.ttl(key) > 86_400 for key in redis.scan_iter())


def test_a_pass_waits_for_its_time_and_for_its_turn(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    first, second = (_lister(bucket, redis, clock) for _ in range(2))
    with JobIndex(redis, Keyspace()).as_lister(30):  # type: ignore[arg-type]
        first.run_once()
        assert _indexed(redis) == {}, "another worker lists"
    first.run_once()
    _store(bucket._root, NEW, _ran("other", "FAILED"))
    third = Session("default", "raycap", "session_2026-11-21_10-00-00_000001_1")
    _store(bucket._root, third, _ran("third", "FAILED"))
    second.run_once()
    assert third.key not in _indexed(redis), "the last pass was just now"
    clock.now += 31
    second.run_once()
    assert _indexed(redis)[third.key] == ["third FAILED"]


def test_a_session_that_changes_is_read_again_soon_and_a_quiet_one_seldom(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    began = NEW.created.timestamp()
    clock.now = began + 60
    lister = _lister(bucket, redis, clock)
    lister.run_once()
    _store(bucket._root, NEW, _ran("job-20", "SUCCEEDED") + _ran("more", "FAILED", 200))
    clock.now += 31
    lister.run_once()
    assert _indexed(redis)[NEW.key] == ["job-20 SUCCEEDED", "more FAILED"]
    clock.now += 3_600
    lister.run_once()
    _store(bucket._root, NEW, _ran("job-20", "SUCCEEDED"))
    clock.now += 60
    lister.run_once()
    assert len(_indexed(redis)[NEW.key]) == 2, "it was quiet for an hour: six minutes until the next look"
    clock.now += 360
    lister.run_once()
    assert len(_indexed(redis)[NEW.key]) == 1


def test_what_is_gone_from_the_bucket_leaves_the_index(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    lister = _lister(bucket, redis, clock)
    lister.run_once()
    (bucket._root / marker_key(OLD)).unlink()
    clock.now += 31
    lister.run_once()
    assert OLD.key in _indexed(redis), "its data is there: a head that was killed leaves no marker"
    shutil.rmtree(bucket._root / session_prefix(OLD))
    clock.now += 31
    _lister(bucket, redis, clock).run_once()
    assert list(_indexed(redis)) == [NEW.key]
    assert redis.zrange(KEYS.changes, 0, -1) == redis.hkeys(KEYS.looks) == [NEW.key.encode()]


def test_a_session_of_the_old_layout_stays(tmp_path: Path, redis: FakeRedis, clock: Clock) -> None:
    old = tmp_path / old_prefix(NEW) / "logs" / "aa" / "events" / "event_JOBS.log"
    old.parent.mkdir(parents=True)
    old.write_bytes(_ran("old", "FAILED"))
    marker = tmp_path / "metadir" / "raycap_default" / NEW.session
    marker.parent.mkdir(parents=True)
    marker.touch()
    lister = _lister(Bucket(str(tmp_path)), redis, clock)
    lister.run_once()
    assert _indexed(redis) == {NEW.key: ["old FAILED"]}
    index = JobIndex(redis, Keyspace())  # type: ignore[arg-type]
    assert unpack(index.entry(NEW.key)).session.prefixes == (old_prefix(NEW),)


def test_an_outage_changes_nothing(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    lister = _lister(bucket, redis, clock)
    bucket.away = session_prefix(NEW)
    lister.run_once()
    assert list(_indexed(redis)) == [OLD.key]
    assert redis.hget(KEYS.state, "failed") == b"1"
    bucket.away = ""
    clock.now += 130
    with pytest.raises(StorageUnavailable):
        lister.run_once()
    assert list(_indexed(redis)) == [OLD.key]
    bucket.away = "-"
    lister.run_once()
    assert len(_indexed(redis)) == 2
    assert redis.hget(KEYS.state, "failed") == b"0"


def test_without_redis_nothing_is_claimed(bucket: Bucket, clock: Clock) -> None:
    server = FakeServer()
    server.connected = False
    with pytest.raises(StoreUnavailable):
        _lister(bucket, FakeRedis(server=server), clock).run_once()


def test_what_a_load_told_is_kept(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    index = JobIndex(redis, Keyspace())  # type: ignore[arg-type]
    row = {"submission_id": "job-20", "status": "RUNNING", "entrypoint": "python x.py"}
    index.put(NEW.key, SessionJobs(NEW.to_dict(), [job_of_row(row, {"FAILED": 3})], complete=True))
    _lister(bucket, redis, clock).run_once()
    entry = unpack(index.entry(NEW.key))
    assert [(job.status, job.entrypoint, job.failures) for job in entry.jobs] == [("SUCCEEDED", "python x.py", 3)]
    assert entry.complete is True
    assert not index.put(NEW.key, entry, former=b"what is there no more"), "written meanwhile by a load"


def test_what_redis_lost_is_filled_anew(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    lister = _lister(bucket, redis, clock)
    lister.run_once()
    redis.delete(KEYS.entries)
    clock.now += 31
    lister.run_once()
    assert len(_indexed(redis)) == 2
    redis.flushall()
    lister.run_once()
    assert len(_indexed(redis)) == 2


def test_the_newest_sessions_are_kept(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    _lister(bucket, redis, clock).run_once()
    clock.now += 31
    _lister(bucket, redis, clock, job_index_sessions=1).run_once()
    assert list(_indexed(redis)) == [NEW.key]


def test_a_damaged_entry_is_written_anew_and_holds_nothing_up(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    lister = _lister(bucket, redis, clock)
    lister.run_once()
    for key in (OLD.key, NEW.key):
        redis.hset(KEYS.entries, key, b"of another version")
    redis.hset(KEYS.looks, NEW.key, b"?")
    (bucket._root / marker_key(OLD)).unlink()
    shutil.rmtree(bucket._root / session_prefix(OLD))
    clock.now += 31
    _lister(bucket, redis, clock).run_once()
    assert _indexed(redis) == {NEW.key: ["job-20 SUCCEEDED"]}


def test_looks_of_a_clock_that_was_ahead_are_due(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    clock.now += 365 * 86_400
    _lister(bucket, redis, clock).run_once()
    clock.now -= 365 * 86_400
    _store(bucket._root, NEW, _ran("job-20", "FAILED"))
    _lister(bucket, redis, clock).run_once()
    assert _indexed(redis)[NEW.key] == ["job-20 FAILED"]


def test_what_a_load_told_of_a_session_that_is_gone_goes_too(bucket: Bucket, redis: FakeRedis, clock: Clock) -> None:
    """It was deleted while it was loaded, before or after anybody had looked at it."""
    gone = Session("default", "raycap", "session_2026-11-01_10-00-00_000001_1")
    index = JobIndex(redis, Keyspace())  # type: ignore[arg-type]
    index.put(gone.key, SessionJobs(gone.to_dict(), [job_of_row({"submission_id": "x", "status": "FAILED"})], complete=True))
    _lister(bucket, redis, clock).run_once()
    assert set(_indexed(redis)) == {OLD.key, NEW.key}
