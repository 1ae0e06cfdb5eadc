"""Does the bucket hold more of a loaded session than its snapshot was made of? Collectors upload every few minutes, and some late."""

from __future__ import annotations

import time
from itertools import chain

import structlog

from shared.layout import data_prefixes
from shared.sessions import Session
from shared.settings import LoadSettings
from shared.storage.port import Storage
from shared.store.client import SyncRedis, redis_errors
from shared.store.keys import Keyspace
from shared.store.protocol.script import ms, script
from shared.store.protocol.visits import claim_from_worker
from workers.event_files import sort_files

log = structlog.get_logger()

NOTE_CHECK = script("""
-- ARGV: snapshot id, digest of the listing now, ms since it was begun -> 1 if it is another than the snapshot was made of
if redis.call('GET', LOADED) ~= ARGV[1] or redis.call('HGET', STATUS, 'id') ~= ARGV[1] then return 0 end
local known = redis.call('HGET', STATUS, 'listing')
local more = known and known ~= ARGV[2]
redis.call('HSET', STATUS, 'growing', more and 1 or 0)
if not more then redis.call('HSET', STATUS, 'as_of', string.format('%.0f', now() - ARGV[3])) end
return more and 1 or 0
""")


def check(redis: SyncRedis, keyspace: Keyspace, settings: LoadSettings, storage: Storage, session: Session, snapshot: str) -> str:
    """The generation that was claimed to load it anew, or "". Raises StorageUnavailable, StoreUnavailable."""
    began = time.monotonic()
    files = sort_files(session, chain.from_iterable(map(storage.list, data_prefixes(session))), lambda _file: None)
    took = ms(time.monotonic() - began)
    with redis_errors():
        more = redis.register_script(NOTE_CHECK)(keyspace.session(session.key).for_scripts, [snapshot, files.digest(), took])
    if not more:
        return ""
    entry = claim_from_worker(redis, keyspace, settings, session.key)
    log.info("the bucket holds more", session=session.key, snapshot=snapshot, generation=entry.enqueue)
    return entry.enqueue
