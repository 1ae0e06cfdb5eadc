"""Deletes old sessions from the bucket on a schedule, by `RAY_HISTORY_RETENTION`.

It runs in a process of its own beside the lanes of each worker; of all workers one deletes at a time, by a lock in Redis.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog

from shared.errors import HistoryError, StorageUnavailable
from shared.live.factory import open_live
from shared.metrics import RETENTION_BYTES, RETENTION_SESSIONS
from shared.retention import Policy, Retention
from shared.settings import Settings
from shared.storage.factory import open_storage, open_writer
from shared.storage.metered import MeteredStorage
from shared.store.client import SyncRedis, open_redis, redis_errors
from shared.store.held_lock import held_lock
from shared.store.keys import Keyspace
from shared.store.protocol.script import ms
from shared.store.protocol.visits import drop_from_worker

log = structlog.get_logger()

_LEASE = 30.0
# How often a worker asks whether a look is due: the one that had its turn may have ended. In seconds.
_LONGEST_REST, _AFTER_FAILURE = 60.0, 600.0


def run(settings: Settings) -> int:
    """Until the process is ended. Everything is opened here, after the fork."""
    rest = min(_LONGEST_REST, settings.retention.retention_interval / 4)
    redis, keyspace = open_redis(settings.redis), Keyspace.of(settings)
    retention: Retention | None = None
    while True:
        try:
            retention = retention or _open(settings)
            delete_old(retention, redis, keyspace, settings.retention.retention_interval)
        except HistoryError as exc:
            log.warning("old sessions not deleted", code=exc.code, error=str(exc))
        except Exception:
            # The process' boundary: the next look may do better, and the worker's loads go on in any case.
            log.exception("old sessions not deleted")
        time.sleep(rest)


def delete_old(retention: Retention, redis: SyncRedis, keyspace: Keyspace, interval: float) -> int:
    """One look through the bucket, if one is due and no other worker is at it: how many sessions were deleted.

    A session that can't be read or deleted costs only itself, and the next look comes sooner. Raises StorageUnavailable when the bucket
    can't be listed, StoreUnavailable.
    """
    with held_lock(redis, keyspace.retention_lock, _LEASE) as lost, redis_errors():
        if lost is None or redis.exists(keyspace.retention_rests):
            return 0
        deleted, failed = 0, False
        for stored, limit in retention.old_sessions(_now(redis)):
            session = stored.session
            if lost.is_set():
                log.info("another worker deletes old sessions")
                return deleted
            try:
                verdict = retention.apply(stored, limit)
            except Exception as exc:
                failed = True
                RETENTION_SESSIONS.labels("failed").inc()
                if isinstance(exc, StorageUnavailable):
                    log.warning("old session not deleted", session=session.key, code=exc.code, error=str(exc))
                else:
                    log.exception("old session not deleted", session=session.key)
                continue
            if verdict is None:
                continue
            RETENTION_SESSIONS.labels("kept" if verdict.kept else "deleted").inc()
            if verdict.kept:
                log.info("old session kept", session=session.key, why=verdict.kept)
                continue
            drop_from_worker(redis, keyspace, session.key)
            deleted += 1
            RETENTION_BYTES.inc(verdict.content.bytes)
            log.info("old session deleted", session=session.key, objects=verdict.content.objects, bytes=verdict.content.bytes)
        redis.set(keyspace.retention_rests, int(failed), px=ms(min(interval, _AFTER_FAILURE) if failed else interval))
        return deleted


def _now(redis: SyncRedis) -> datetime:
    """By this machine's clock or Redis', whichever is behind: one that has jumped ahead must not delete anything."""
    seconds, _ = redis.time()
    return min(datetime.now(UTC), datetime.fromtimestamp(seconds, UTC))


def _open(settings: Settings) -> Retention:
    storage = MeteredStorage(open_storage(settings.storage))
    policy = Policy.of(settings.retention.retention, keep_failed=settings.retention.retention_keep_failed)
    return Retention(policy, storage, open_writer(settings.storage), (*open_live(settings.live, storage), settings.live))
