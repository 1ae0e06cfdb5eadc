"""Deleting old sessions on a schedule: by namespace, one worker at a time, and a session that fails costs only itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from fakeredis import FakeRedis
from pydantic import ValidationError

from shared.errors import StorageUnavailable
from shared.live.factory import open_live
from shared.retention import Policy, Retention
from shared.sessions import Session
from shared.settings import LiveSettings, RetentionSettings
from shared.storage.local import LocalStorage
from shared.storage.local_writer import LocalWriter
from shared.storage.port import ObjectInfo, Storage
from shared.store.keys import Keyspace
from tests.published import loaded
from tests.unit.test_cli_prune import add, left
from workers.retention import delete_old

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY = 86_400.0
KEYS = Keyspace()


class Writer(LocalWriter):
    """`fails`: keys with this in them can't be deleted."""

    fails = "-"

    def delete(self, keys: Sequence[str]) -> None:
        if any(self.fails in key for key in keys):
            raise StorageUnavailable("may not delete")
        super().delete(keys)


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


class PartlyUnreadable(LocalStorage):
    """The event files of clusters called `bad` are in a directory that may not be listed."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            hidden = "/bad/" in info.key and "/node_events/" in info.key
            yield ObjectInfo(info.key.rpartition("/")[0] + "/", 0, unreadable="denied") if hidden else info


def _retention(
    bucket: Path, policy: str, writer: LocalWriter | None = None, *, keep_failed: bool = False, storage: Storage | None = None
) -> Retention:
    settings, storage = LiveSettings(), storage or LocalStorage(bucket)
    live = (*open_live(settings, storage), settings)
    return Retention(Policy.of(policy, keep_failed=keep_failed), storage, writer or LocalWriter(bucket), live)


def test_each_namespace_has_its_own_age() -> None:
    policy = Policy.of("90d, team-a=2w,team-b=never")
    limits = {namespace: policy.before(namespace, NOW) for namespace in ("x", "team-a", "team-b")}
    assert limits == {"x": NOW - timedelta(days=90), "team-a": NOW - timedelta(weeks=2), "team-b": None}
    assert Policy.of("team-a=1h").before("x", NOW) is None


@pytest.mark.parametrize("said", ["90", "90d;1d", "=", "team-a=", "soon", "90d team-a=1h", "999999d", "9" * 40 + "h"])
def test_what_is_no_age_is_refused_at_the_start(said: str) -> None:
    with pytest.raises(ValidationError):
        RetentionSettings(retention=said)


def test_what_the_setting_takes_is_a_policy() -> None:
    for said in ("", "90d", "team-a=never", " 1h , a=2w,b = never "):
        Policy.of(RetentionSettings(retention=said).retention)


def test_old_sessions_go_from_bucket_and_redis_once_an_interval(tmp_path: Path, redis: FakeRedis) -> None:
    old, new, failed = add(tmp_path, 100), add(tmp_path, 10), add(tmp_path, 101, failed=True)
    keys = KEYS.session(f"ns/c/{old}")
    redis.set(keys.loaded, "1.1", ex=60)
    retention = _retention(tmp_path, "90d", keep_failed=True)
    assert delete_old(retention, redis, KEYS, DAY) == 1
    assert left(tmp_path) == {new, failed}
    assert not redis.exists(keys.loaded)
    add(tmp_path, 100)
    assert delete_old(retention, redis, KEYS, DAY) == 0
    assert 0 < redis.ttl(KEYS.retention_rests) <= DAY
    redis.delete(KEYS.retention_rests)
    assert delete_old(retention, redis, KEYS, DAY) == 1


def test_another_worker_at_it_is_left_alone(tmp_path: Path, redis: FakeRedis) -> None:
    old = add(tmp_path, 100)
    redis.set(KEYS.retention_lock, "another", ex=60)
    assert delete_old(_retention(tmp_path, "90d"), redis, KEYS, DAY) == 0
    assert left(tmp_path) == {old}


def test_one_that_can_not_be_deleted_costs_only_itself(tmp_path: Path, redis: FakeRedis) -> None:
    stays, _ = add(tmp_path, 101, cluster="stays"), add(tmp_path, 100)
    writer = Writer(tmp_path)
    writer.fails = "/stays/"
    assert delete_old(_retention(tmp_path, "90d", writer), redis, KEYS, DAY) == 1
    assert left(tmp_path) == {stays}
    assert redis.ttl(KEYS.retention_rests) <= 600


def test_a_session_in_two_places_is_as_old_as_its_newest_event(tmp_path: Path, redis: FakeRedis) -> None:
    """Its collector learned of its owner while it ran."""
    name = add(tmp_path, 100)
    writer, owned = LocalWriter(tmp_path), f"cluster-history/rayjob/ns/owner/c/{name}/n/node_events"
    writer.put(f"cluster-metadata/rayjob/ns_owner_c/{name}", b"")
    writer.put(f"{owned}/n-{datetime.now(UTC):%Y-%m-%d-%H}-1.jsonl.gz", b"x")
    before = sorted(tmp_path.rglob("*"))
    assert delete_old(_retention(tmp_path, "90d"), redis, KEYS, DAY) == 0
    assert sorted(tmp_path.rglob("*")) == before
    writer.delete([f"{owned}/n-{datetime.now(UTC):%Y-%m-%d-%H}-1.jsonl.gz"])
    writer.put(f"{owned}/n-2026-01-01-10-1.jsonl.gz", b"x")
    redis.delete(KEYS.retention_rests)
    assert delete_old(_retention(tmp_path, "90d"), redis, KEYS, DAY) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_one_whose_events_can_not_be_listed_may_be_new(tmp_path: Path, redis: FakeRedis) -> None:
    hidden, _ = add(tmp_path, 101, cluster="bad"), add(tmp_path, 100)
    assert delete_old(_retention(tmp_path, "90d", storage=PartlyUnreadable(tmp_path)), redis, KEYS, DAY) == 1
    assert left(tmp_path) == {hidden}
    assert redis.ttl(KEYS.retention_rests) <= 600


def test_events_may_have_been_added_until_the_end_of_a_file_s_hour(tmp_path: Path) -> None:
    name = "session_2026-11-01_00-00-00_000000_1"
    LocalWriter(tmp_path).put(f"cluster-history/raycluster/ns/c/{name}/n/node_events/n-2026-11-02-09.jsonl.gz", b"x")
    retention = _retention(tmp_path, "1h")

    def verdict(now: datetime) -> object:
        return [retention.apply(*old) for old in retention.old_sessions(now)]

    assert verdict(datetime(2026, 11, 2, 10, 59, tzinfo=UTC)) == [None]
    assert verdict(datetime(2026, 11, 2, 11, 1, tzinfo=UTC)) != [None]


def test_a_clock_that_jumped_ahead_deletes_nothing(tmp_path: Path, redis: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    young = add(tmp_path, 10)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(days=400)

    monkeypatch.setattr("workers.retention.datetime", Ahead)
    assert delete_old(_retention(tmp_path, "90d"), redis, KEYS, DAY) == 0
    assert left(tmp_path) == {young}


def test_one_whose_deletion_broke_off_is_partial(tmp_path: Path, redis: FakeRedis) -> None:
    name = add(tmp_path, 100)
    writer = Writer(tmp_path)
    writer.fails = "cluster-metadata/"
    assert delete_old(_retention(tmp_path, "90d", writer), redis, KEYS, DAY) == 0
    LocalWriter(tmp_path).put(f"cluster-history/raycluster/ns/c/{name}/n/logs/raylet.out", b"x")
    writer.fails = "/logs/"
    redis.delete(KEYS.retention_rests)
    assert delete_old(_retention(tmp_path, "90d", writer), redis, KEYS, DAY) == 0
    assert [code for _, code, _ in loaded(tmp_path, Session("ns", "c", name)).lost] == ["session_deleted"]


def test_a_file_whose_name_is_not_utf8_goes_too(tmp_path: Path, redis: FakeRedis) -> None:
    name = add(tmp_path, 100)
    logs = tmp_path / f"cluster-history/raycluster/ns/c/{name}/n/logs"
    Path(os.fsdecode(os.fsencode(logs) + b"/r\xe9sum\xe9.log")).write_bytes(b"x")
    assert delete_old(_retention(tmp_path, "90d"), redis, KEYS, DAY) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
