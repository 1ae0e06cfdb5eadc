"""The collector's life: Ray comes and goes, sessions begin and end, and at SIGTERM everything is uploaded, what matters most first."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import structlog

from collector.batches import Batch, batch_reader
from collector.cluster import Cluster
from collector.dashboard import Dashboard
from collector.documents import Announcer
from collector.files import only_process
from collector.intake import Intake, IntakeServer
from collector.journal import Journal
from collector.outbox import Outbox
from collector.ray_node import RayNode
from collector.sessions import NodeSessions
from collector.uploads import Uploads
from shared.errors import StorageUnavailable
from shared.settings import Settings
from shared.storage.factory import open_writer

log = structlog.get_logger()

_LOOK = 2.0
_LATE = 2.0
_DEFAULT_DIRECTORY = "history-collector"


class Collector:
    """One per Ray node. Raises SettingsError, or OSError when its directory cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.collect
        self._stopping = threading.Event()
        self._storage = settings.storage.storage
        self._cluster = Cluster(self._settings)
        self._node = RayNode(Path(self._settings.collect_ray_dir))
        directory = collector_directory(self._settings.collect_dir, self._settings.collect_ray_dir)
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = only_process(directory / "lock")
        self._writer = open_writer(settings.storage)
        self._journal = Journal(
            directory / "journal",
            self._settings.collect_buffer,
            self._settings.collect_rotation_bytes,
            self._settings.collect_rotation,
            self._deleted,
        )
        self._outbox = Outbox(directory / "outbox")
        self._sessions = NodeSessions(directory, self._settings, self._cluster, self._node, self._outbox, self._writer)
        self._uploads = Uploads(
            self._journal, self._outbox, self._writer, self._cluster, self._sessions.node_of, self._sessions.lose_anywhere
        )
        self._announcer = Announcer(self._settings.collect_announce, self._cluster, self._outbox, self._writer)
        self._sessions.withdraw = self._announcer.withdraw
        self._sessions.stopping = self._stopping.is_set
        self._sessions.flush = self._flush
        self._dashboard = Dashboard(self._settings.collect_dashboard, self._settings.endpoints, self._store_answer)
        self._intake = Intake(self._journal, batch_reader(settings.load.engine), self._seen, self.status)
        self._deadline = 0.0
        self._began = time.time()

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises OSError when the port cannot be listened on."""
        # Reentrant, other than an event: a handler may interrupt whoever holds the event's lock, and would wait for it for ever.
        asked_to_end = SimpleQueue[int]()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: asked_to_end.put(number))
        server = IntakeServer(self._settings.collect_host, self._settings.collect_port, self._intake)
        log.info("collecting", address=f"{self._settings.collect_host}:{self._settings.collect_port}", storage=self._storage)
        self._uploads.start()
        threading.Thread(target=server.serve_forever, name="intake", daemon=True).start()
        for work, every in (
            (self._sessions.look, _LOOK),
            (self._announce, _LOOK),
            (self._sessions.ship_logs, 5 * _LOOK),
            (self._poll_dashboard, self._settings.collect_poll),
        ):
            threading.Thread(target=self._repeat, args=(work, every), name=work.__name__, daemon=True).start()
        asked_to_end.get()
        self._deadline = time.monotonic() + self._settings.collect_grace
        self._stopping.set()
        ending = threading.Thread(target=self._end, name="end", daemon=True)
        ending.start()
        ending.join(self._settings.collect_grace + _LATE)
        # A call of the storage that hangs must not keep the process: what is not uploaded is on disk.
        log.debug("exit", complete=not ending.is_alive())
        os._exit(0)

    def status(self) -> dict[str, object]:
        """For `GET /status` and `collect --check`."""
        return {
            "cluster": f"{self._cluster.namespace}/{self._cluster.name}",
            "storage": self._storage,
            "began": self._began,
            "session": self._sessions.current,
            "events": self._intake.events,
            "batches": self._intake.batches,
            "refused": self._intake.refused,
            "buffered_bytes": self._journal.size,
            "uploaded_files": self._uploads.files,
            "last_upload": self._uploads.last_success,
            "upload_problem": self._uploads.problem,
            "dashboard_problem": self._dashboard.problem,
        }

    def _end(self) -> None:
        """What matters most first: events, then dashboard answers, then logs; and as long as Ray runs, its last events are waited for."""
        self._poll_dashboard()
        self._try(self._journal.close_segment)
        self._try(self._uploads.upload_all)
        lingering = time.monotonic() + min(self._settings.collect_linger, self._settings.collect_grace / 2)
        while time.monotonic() < lingering and self._sessions.ray_runs():
            time.sleep(0.1)
        self._try(self._journal.end)
        self._uploads.end()
        self._try(self._uploads.upload_all)
        self._try(lambda: self._sessions.finish(self._too_late))
        self._try(self._uploads.upload_all)
        log.info("ended", buffered_bytes=self._journal.size)

    def _try(self, work: Callable[[], object]) -> None:
        """Again and again until it succeeds or time is up: what is left then stays on disk."""
        while True:
            try:
                work()
            except (StorageUnavailable, OSError) as exc:
                log.warning("not uploaded", error=str(exc))
                if self._too_late():
                    return
                time.sleep(0.5)
            else:
                return

    def _flush(self) -> None:
        self._journal.close_segment()
        self._uploads.upload_all()

    def _too_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _repeat(self, work: Callable[[], None], every: float) -> None:
        while True:
            try:
                work()
            except (StorageUnavailable, OSError) as exc:
                log.warning("will be tried again", what=work.__name__, error=str(exc))
            except Exception:
                log.exception("unexpected fault", what=work.__name__)
            if self._stopping.wait(every):
                return

    def _poll_dashboard(self) -> None:
        if self._sessions.is_head:
            self._dashboard.poll()

    def _announce(self) -> None:
        if self._sessions.is_head and (session := self._sessions.current):
            self._announcer.announce(session)

    def _store_answer(self, session: str, path: str, body: bytes) -> None:
        self._outbox.put(self._cluster.answer(session, path), body)

    def _seen(self, batch: Batch) -> None:
        """Raises OSError when it cannot be kept that some of the events will not be stored."""
        try:
            for session, node in {(group.place.session, group.place.node) for group in batch.groups}:
                self._sessions.saw(session, node)
        except OSError as exc:  # a full disk: the journal will say what that means for the events
            log.warning("session not noted", error=str(exc))
        for reason, count in batch.unfit.items():
            self._sessions.lose_anywhere("", "events_unfit", f"{count} events: {reason}")

    def _deleted(self, size: int) -> None:
        log.error("events on disk were deleted by someone", bytes=size)
        self._sessions.lose_anywhere("", "events_deleted", f"{size} bytes of events were deleted from the node's disk before their upload")


def collector_directory(given: str, ray_directory: str) -> Path:
    """Where the journal is: beside Ray's sessions, which in a pod outlives the container."""
    return Path(given) if given else Path(ray_directory) / _DEFAULT_DIRECTORY
