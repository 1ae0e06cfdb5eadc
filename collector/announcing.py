"""Says, while a head runs, that its cluster is live and where its dashboard is (`shared/collector_documents.py`)."""

from __future__ import annotations

import time

import msgspec

from collector.cluster import Cluster
from collector.outbox import Outbox
from shared.collector_documents import HEARTBEAT, Announcement, announcement_key
from shared.storage.port import StorageWriter


class Announcer:
    """`dashboard`: its address as the history server reaches it; empty: nothing is said."""

    def __init__(self, dashboard: str, cluster: Cluster, outbox: Outbox, writer: StorageWriter) -> None:
        self._dashboard = dashboard
        self._cluster = cluster
        self._outbox = outbox
        self._writer = writer
        self._session = ""
        self._announced = 0.0

    def announce(self, session: str) -> None:
        """A heartbeat, when the last one of this session is old enough."""
        now = time.monotonic()
        if not self._dashboard or (self._session == session and now - self._announced < HEARTBEAT):
            return
        self._session, self._announced = session, now
        owner = self._cluster.session(session)
        said = Announcement(
            owner.namespace, owner.cluster, session, self._dashboard, round(time.time(), 3), owner.owner_kind, owner.owner_name
        )
        self._outbox.put(announcement_key(owner.namespace, owner.cluster), msgspec.json.encode(said))

    def withdraw(self) -> None:
        """The head is gone: readers need not wait until the last heartbeat is old. Raises StorageUnavailable."""
        if self._dashboard:
            self._session = ""
            key = announcement_key(self._cluster.namespace, self._cluster.name)
            self._outbox.drop(key)
            self._writer.delete([key])
