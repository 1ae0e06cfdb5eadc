"""The sessions of this node: noticed when Ray comes up, finished when it is gone, also when the collector was away meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from collector.cluster import Cluster
from collector.documents import Reporter
from collector.files import read_or_none, replace
from collector.logs import SessionLogs
from collector.outbox import Outbox
from collector.ray_node import RayNode, made_up_node_id
from shared.collector_documents import Loss
from shared.settings import CollectSettings
from shared.storage.port import StorageWriter

log = structlog.get_logger()

# Ray's raylet is gone, not just busy.
_MISSES = 3
# Its last events may come a little later.
_QUIET = 5.0
_QUIET_UNSEEN = 120.0
_REMEMBERED = 30 * 86400.0
_SILENT_GCS = "gcs_exports_nothing"
_STATE = "state.json"
_UNPLACED = "losses.json"


class _State(msgspec.Struct):
    """What must outlive this process."""

    session: str
    node: str
    head: bool
    ended: bool = False


@dataclass(slots=True)
class NodeSession:
    """One session of one Ray node: its logs and its report."""

    state: _State
    directory: Path
    logs: SessionLogs
    report: Reporter
    finishing: bool = field(default=False)


class NodeSessions:
    """Thread-safe. `flush`, set by the collector, uploads every event that was taken so far."""

    def __init__(
        self, directory: Path, settings: CollectSettings, cluster: Cluster, node: RayNode, outbox: Outbox, writer: StorageWriter
    ) -> None:
        self._directory = directory / "sessions"
        self._settings = settings
        self._cluster = cluster
        self._node = node
        self._outbox = outbox
        self._writer = writer
        self._lock = threading.RLock()
        self._shipping = threading.Lock()
        self._open: dict[tuple[str, str], NodeSession] = {}
        self._nodes: dict[str, str] = {}
        self._current: tuple[str, str] | None = None
        self._misses = 0
        self._last_event: dict[str, float] = {}
        # Losses of no known session, by code: they go into the report of the next one.
        self._unplaced: dict[str, Loss] = {}
        self.stopping: Callable[[], bool] = lambda: False
        self.flush: Callable[[], None] = lambda: None
        self.withdraw: Callable[[], None] = lambda: None
        self._recover()

    @property
    def current(self) -> str | None:
        """The name of the session that runs now."""
        return self._current[0] if self._current else None

    @property
    def is_head(self) -> bool:
        """Is the Ray that runs here now a head?"""
        current = self._open.get(self._current) if self._current else None
        return current is not None and current.state.head

    def ray_runs(self) -> bool:
        return self._current is not None and self._node.runs(self._current[0])

    def saw(self, session: str, node: str) -> None:
        """An event says that this is the node's id in that session, which goes on."""
        self._last_event[session] = time.monotonic()
        own = self._nodes.get(session, node)
        if own and (session, own) not in self._open:
            with self._lock:
                self._nodes[session] = own
                self._begin(session, own)

    def node_of(self, session: str) -> str:
        """The node's id in that session, the same one at every call: names of objects are made of it."""
        with self._lock:
            known = self._nodes.get(session) or self._node.node_id(session) or made_up_node_id()
            self._nodes[session] = known
            if not any(name == session for name, _ in self._open):
                self._begin(session, known)
            return known

    def lose_anywhere(self, session: str, code: str, message: str) -> None:
        """Record a loss in that session's report; an unknown one's in that of the session that runs, or of the next one.

        Raises OSError when it cannot be kept.
        """
        with self._lock:
            known = [known for (name, _), known in self._open.items() if name == session]
            if not known and self._current in self._open:
                known = [self._open[self._current]]
            for node_session in (known or list(self._open.values()))[-1:]:
                node_session.report.lose("", code, message)
                return
            unplaced = self._unplaced.setdefault(code, Loss("", code, message, 0))
            unplaced.message, unplaced.count = message, unplaced.count + 1
            replace(self._directory / _UNPLACED, msgspec.json.encode(self._unplaced))

    def look(self) -> None:
        """Has Ray come, gone, or begun another session?"""
        session = self._node.session()
        if session is None or not self._node.runs(session):
            self._misses += 1
            if self._current and self._misses >= _MISSES:
                log.info("Ray has ended", session=self._current[0])
                self._current = None
            return
        self._misses = 0
        node = self._node.node_id(session) or self._nodes.get(session)
        if node is None or self._current == (session, node):
            return
        with self._lock:
            self._nodes[session] = node
            self._begin(session, node)
            self._current = (session, node)

    def ship_logs(self) -> None:
        """Upload logs that are due, and whatever is left of sessions that have ended. Raises StorageUnavailable."""
        with self._shipping:
            for key, known in list(self._open.items()):
                self._note_silent_gcs(known)
                if self._has_ended(key):
                    self._finish(key, self.stopping)
                else:
                    known.logs.ship(self._writer, self.stopping)

    def _has_ended(self, key: tuple[str, str]) -> bool:
        """Ray no longer runs it here. Where its directory cannot be seen, only its events tell."""
        session = key[0]
        if key == self._current or (self._misses < _MISSES and self._node.session() in (session, None)):
            return False
        quiet = _QUIET if self._node.directory(session).is_dir() else _QUIET_UNSEEN
        return time.monotonic() - self._last_event.get(session, -quiet) >= quiet

    def finish(self, too_late: Callable[[], bool]) -> None:
        """The collector ends: logs of the running session, too; it has ended only if Ray has. Raises StorageUnavailable."""
        with self._shipping:
            for key, known in list(self._open.items()):
                self._note_silent_gcs(known)
                if self._node.runs(known.state.session):
                    known.logs.ship_all(self._writer, too_late)
                else:
                    self._finish(key, too_late)

    def _finish(self, key: tuple[str, str], stopping: Callable[[], bool]) -> None:
        known = self._open[key]
        if known.state.head and not (self._current and self._current[0] != key[0]):
            self.withdraw()
        self.flush()
        if not known.logs.ship_all(self._writer, stopping):
            return
        known.report.end()
        known.state.ended = True
        self._save(known)
        with self._lock:
            del self._open[key]
        self._outbox.forget(self._cluster.prefix(known.state.session))
        log.info("session is complete in the bucket", session=known.state.session, node=known.state.node)

    def _note_silent_gcs(self, known: NodeSession) -> None:
        session = known.state.session
        if known.state.head and not known.report.has(_SILENT_GCS) and self._node.gcs_gave_up(session):
            log.error("Ray's GCS exports no events: it found no agent when it started", session=session)
            known.report.lose("", _SILENT_GCS, "Ray's GCS found no agent when it started: it exports no nodes, actors and jobs")

    def _begin(self, session: str, node: str) -> None:
        known = self._open.get((session, node))
        if known is None:
            role = self._settings.collect_role
            head = role == "head" or (role == "auto" and self._node.is_head(session))
            known = self._opened(_State(session, node, head))
            self._save(known)
            self._outbox.put(self._cluster.marker(session), b"")
            log.info("session", session=session, node=node, head=head)
        known.report.begin(self._node.temp_dir(session))
        self._open[(session, node)] = known
        for code, loss in list(self._unplaced.items()):
            known.report.lose("", code, loss.message, loss.count)
            del self._unplaced[code]
        (self._directory / _UNPLACED).unlink(missing_ok=True)

    def _opened(self, state: _State) -> NodeSession:
        session, node = state.session, state.node
        directory = self._directory / f"{session}.{node[:16]}"
        report = Reporter(
            directory / "report.json",
            session,
            node,
            "head" if state.head else "worker",
            lambda content: self._outbox.put(self._cluster.report(session, node), content),
        )
        logs = SessionLogs(
            self._node.directory(session) / "logs",
            directory / "logs.json",
            lambda name: self._cluster.log(session, node, name),
            lambda name, code, message: report.lose(f"logs/{name}", code, message),
            self._settings.collect_log_interval,
        )
        return NodeSession(state, directory, logs, report)

    def _save(self, known: NodeSession) -> None:
        replace(known.directory / _STATE, msgspec.json.encode(known.state))

    def _recover(self) -> None:
        """What a former process knew: sessions (those that have ended are only remembered, for their node's id) and losses."""
        self._unplaced = msgspec.json.decode(read_or_none(self._directory / _UNPLACED) or b"{}", type=dict[str, Loss])
        for path in sorted(self._directory.glob(f"*/{_STATE}")):
            try:
                state = msgspec.json.decode(read_or_none(path) or b"", type=_State)
            except msgspec.MsgspecError:
                continue
            self._nodes[state.session] = state.node
            if not state.ended:
                self._open[(state.session, state.node)] = self._opened(state)
            elif time.time() - path.stat().st_mtime > _REMEMBERED:
                shutil.rmtree(path.parent, ignore_errors=True)
