"""Every Redis key, by name. They begin with a prefix of the operator's choice and name the storage, so two buckets never mix.

Sessions are shared out among SHARDS; each shard has its own eviction index and a hash tag of its own. So one script can change a
session's state, its bytes and its place in the index together, also on Redis Cluster, where a tag is a slot.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from shared.settings import Settings, StorageSettings
from shared.snapshot_format import FORMAT
from shared.storage.address import place_of

SHARDS = 16
# Of what the index of jobs holds (`shared/jobs.py`).
JOB_INDEX_FORMAT = 1
# Of the records of `shared/store/logins.py`.
LOGINS_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The eviction index of one shard: last use (ms) and bytes of every snapshot, by its `SessionKeys.member`. They have no TTL."""

    base: str

    @property
    def index(self) -> str:
        return self.base + "index"

    @property
    def sizes(self) -> str:
        return self.base + "sizes"


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """One session's keys. `snapshot_id` is `{generation}.{attempt}`: what one attempt of one load writes is its own."""

    shard: ShardKeys
    session: str
    """What all of them begin with."""

    @property
    def for_scripts(self) -> list[str]:
        return [self.session, self.shard.index, self.shard.sizes]

    @property
    def claim(self) -> str:
        return self.session + "claim"

    @property
    def load(self) -> str:
        return self.session + "load"

    @property
    def status(self) -> str:
        return self.session + "status"

    @property
    def loaded(self) -> str:
        return self.session + "loaded"

    def snapshot(self, snapshot_id: str) -> str:
        return f"{self.session}g:{snapshot_id}"

    def progress(self, snapshot_id: str) -> str:
        return f"{self.session}p:{snapshot_id}"

    def work(self, snapshot_id: str) -> str:
        """The ledger of a large load's steps, and what they leave for each other."""
        return f"{self.session}w:{snapshot_id}"

    def member(self, snapshot_id: str) -> str:
        """A snapshot's name in the eviction index of its shard."""
        return self.session + snapshot_id


@dataclass(frozen=True, slots=True)
class JobIndexKeys:
    """The index of jobs over all sessions of a storage. All have a TTL, which whoever fills the index renews."""

    base: str

    @property
    def entries(self) -> str:
        """Hash: each session's jobs, by the session's key."""
        return self.base + "entries"

    @property
    def changes(self) -> str:
        """Sorted set: when each entry was written last."""
        return self.base + "changes"

    @property
    def looks(self) -> str:
        """Hash: what the last look at each session found, and when the next one is due."""
        return self.base + "looks"

    @property
    def lister(self) -> str:
        """Lock: whoever holds it lists the bucket."""
        return self.base + "lister"

    @property
    def state(self) -> str:
        """Hash: how the last pass over the bucket went."""
        return self.base + "state"


@dataclass(frozen=True, slots=True)
class Keyspace:
    """All keys of one service: `prefix` as set, `storage` a fingerprint of the bucket.

    Another snapshot format is another set of keys: versions side by side don't read each other's.
    """

    prefix: str = "rhs"
    storage: str = "0"

    @classmethod
    def of(cls, settings: Settings) -> Keyspace:
        return cls(settings.redis.redis_prefix, fingerprint(settings.storage))

    def session(self, session_key: str) -> SessionKeys:
        return _session_keys(self, session_key)

    def shards(self) -> list[ShardKeys]:
        return [self._shard(number) for number in range(SHARDS)]

    @property
    def job_index(self) -> JobIndexKeys:
        return JobIndexKeys(f"{self.prefix}:{{{self.storage}.jobs}}:v{JOB_INDEX_FORMAT}:")

    @property
    def retention_lock(self) -> str:
        """Lock: whoever holds it deletes old sessions of the bucket."""
        return f"{self.prefix}:{{{self.storage}.retention}}:lock"

    @property
    def retention_rests(self) -> str:
        """Until the next look for old sessions is due."""
        return f"{self.prefix}:{{{self.storage}.retention}}:rests"

    @property
    def logins(self) -> str:
        """What the keys of logins begin with; all have a TTL. They are not the storage's: rights are said by the server's settings."""
        return f"{self.prefix}:{{logins}}:v{LOGINS_FORMAT}:"

    def _shard(self, number: int) -> ShardKeys:
        return ShardKeys(f"{self.prefix}:{{{self.storage}.{number}}}:v{FORMAT}:")


def fingerprint(storage: StorageSettings) -> str:
    return hashlib.blake2b(place_of(storage).encode(), digest_size=5).hexdigest()


@lru_cache(maxsize=4096)
def _session_keys(keyspace: Keyspace, session_key: str) -> SessionKeys:
    shard = keyspace._shard(crc32(session_key.encode()) % SHARDS)  # noqa: SLF001
    return SessionKeys(shard, f"{shard.base}{session_key}:")


def session_of_member(member: str) -> tuple[str, str]:
    """What the keys of a member's session begin with, and its snapshot id."""
    session, _, snapshot_id = member.rpartition(":")
    return f"{session}:", snapshot_id
