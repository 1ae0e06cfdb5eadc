"""Uploads of events and small objects: tried again until they succeed, across restarts, in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from collector.batches import Place
from collector.cluster import Cluster
from collector.journal import Journal
from collector.outbox import Outbox
from collector.segments import event_files
from shared.errors import StorageUnavailable
from shared.storage.port import StorageWriter

log = structlog.get_logger()

_LOOK = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Uploads:
    """A thread that empties the journal and the outbox.

    `node_of` gives the node of a session's events that name none; `lose` is told (session, code, message).
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Outbox,
        writer: StorageWriter,
        cluster: Cluster,
        node_of: Callable[[str], str],
        lose: Callable[[str, str, str], None],
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._writer = writer
        self._cluster = cluster
        self._node_of = node_of
        self._lose = lose
        self._marked: set[str] = set()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._pass = threading.Lock()
        self.files = 0
        self.last_success = 0.0
        self.problem = ""
        """Why nothing can be uploaded now; empty while it works."""
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._wake.set()

    def mark(self, session: str) -> None:
        """Have readers find the session: its marker comes before anything else of it. Raises StorageUnavailable."""
        if session not in self._marked:
            self._writer.put(self._cluster.marker(session), b"")
            self._marked.add(session)

    def upload_all(self) -> None:
        """Upload whatever waits, events first. Raises StorageUnavailable, OSError."""
        with self._pass:
            for segment in self._journal.closed():
                try:
                    self._upload(segment)
                except FileNotFoundError:
                    if segment.exists():
                        raise
                    self._journal.give_up(segment)
            self._outbox.send(self._writer)
            self.problem, self.last_success = "", time.time()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            try:
                self._journal.close_segment(only_if_due=True)
                self.upload_all()
            except (StorageUnavailable, OSError) as exc:
                if str(exc) != self.problem:
                    log.warning("cannot upload; events are kept on disk", error=str(exc), bytes=self._journal.size)
                self.problem = str(exc)
                self._wake.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception:
                # A fault of ours must not end the uploads for good: what cannot be uploaded stays on disk.
                log.exception("unexpected fault while uploading")
                self._wake.wait(_LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                self._wake.wait(_LOOK)
            self._wake.clear()

    def _upload(self, segment: Path) -> None:
        for place, rest, content, events in event_files(segment, self._resolve, self._damaged):
            self.mark(place.session)
            key = self._cluster.event_file(place, rest)
            # The same name means the same content: an upload that succeeded although we do not know it.
            self._writer.put_if_absent(key, content)
            self.files += 1
            log.debug("events uploaded", key=key, events=events, bytes=len(content))
        self._journal.finish(segment)

    def _resolve(self, place: Place) -> Place:
        return place if place.node else place._replace(node=self._node_of(place.session))

    def _damaged(self, size: int) -> None:
        log.error("events on disk are damaged", bytes=size)
        self._lose("", "events_damaged", f"{size} bytes of events on the node's disk were not what had been written")
