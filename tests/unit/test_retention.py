"""Deleting old sessions on a schedule: by namespace, one worker at a time, and a session that fails costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakeredis import FakeRedis
from pydantic import ValidationError

from shared.errors import StorageUnavailable
from shared.live.factory import open_live
from shared.retention import Policy, Retention
from shared.settings import LiveSettings, RetentionSettings
from shared.storage.local import LocalStorage
from shared.storage.local_writer import LocalWriter
from shared.store.keys import Keyspace
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


def _retention(bucket: Path, policy: str, writer: LocalWriter | None = None, *, keep_failed: bool = False) -> Retention:
    settings, storage = LiveSettings(), LocalStorage(bucket)
    live = (*open_live(settings, storage), settings)
    return Retention(Policy.of(policy, keep_failed=keep_failed), storage, writer or LocalWriter(bucket), live)


def test_each_namespace_has_its_own_age() -> None:
    policy = Policy.of("90d, team-a=2w,team-b=never")
    limits = {namespace: policy.before(namespace, NOW) for namespace in ("x", "team-a", "team-b")}
    assert limits == {"x": NOW - timedelta(days=90), "team-a": NOW - timedelta(weeks=2), "team-b": None}
    assert Policy.of("team-a=1h").before("x", NOW) is None


@pytest.mark.parametrize("said", ["90", "90d;1d", "=", "team-a=", "soon", "90d team-a=1h"])
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
