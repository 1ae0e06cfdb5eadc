"""The two documents of `shared/collector_documents.py`, as the collector of one node writes them.

A session's report is kept on disk as well: losses must survive the collector's own restarts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from collector.cluster import Cluster
from collector.files import read_or_none, replace
from collector.outbox import Outbox
from shared.collector_documents import HEARTBEAT, REPORT_VERSION, Announcement, Loss, Report, announcement_key, decode_report
from shared.storage.port import StorageWriter

_MOST_LOSSES = 200


class Reporter:
    """The report of one session. Thread-safe. `publish` has the document uploaded."""

    def __init__(self, path: Path, session: str, node: str, role: str, publish: Callable[[bytes], None]) -> None:
        self._path = path
        self._publish = publish
        self._lock = threading.Lock()
        known = read_or_none(path)
        self._report = decode_report(known) if known else Report(REPORT_VERSION, node, session, role, _now())

    def lose(self, file: str, code: str, message: str, count: int = 1) -> None:
        """Record that something will not be in the bucket. Raises OSError when even that cannot be kept."""
        with self._lock:
            for loss in self._report.losses:
                if (loss.file, loss.code) == (file, code):
                    loss.message, loss.count = message, loss.count + count
                    break
            else:
                if len(self._report.losses) < _MOST_LOSSES:
                    self._report.losses.append(Loss(file, code, message, count))
                else:
                    self._report.losses_left_out += count
            self._write()

    def has(self, code: str) -> bool:
        """Is such a loss recorded?"""
        with self._lock:
            return any(loss.code == code for loss in self._report.losses)

    def begin(self, temp_dir: str) -> None:
        """The node runs; also after it had ended, as a worker node may come back. `temp_dir`: as in the report."""
        with self._lock:
            self._report.ended = None
            self._report.temp_dir = temp_dir or self._report.temp_dir
            self._write()

    def end(self) -> None:
        """Everything else of this session has been uploaded."""
        with self._lock:
            self._report.ended = _now()
            self._write()

    def _write(self) -> None:
        content = msgspec.json.encode(self._report)
        replace(self._path, content)
        self._publish(msgspec.json.format(content, indent=1))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Announcer:
    """Says, while a head runs, that its cluster is live.

    `dashboard`: its address as the history server reaches it; empty: nothing is said.
    """

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
