"""Workers as logs tell of them: of every Ray how they crashed, and of Ray before 2.58, which exports no WORKER_* events, all of them.

Measured on sessions of Ray 2.54 and 2.55, against what the live dashboard said: all workers, types of exit and pids are equal, ends
and launches to within 15 ms; a raylet's own reason for an exit ("its placement group was removed") is in no log.

Lines of `gcs_server.out`:
- Reporting worker exit, worker id = {id}, .. exit_detail = {detail}. Unintentional worker failures ..
- Leasing worker for actor. actor_id={id} .. node_id={id}
Lines of `raylet.out`:
- Started worker process with pid {pid} worker_id={id}
- Disconnecting worker, graceful=.., disconnect_type={n}, .. worker_id={id}
Lines of `python-core-worker-{id}_{pid}.log`:
- Initializing worker at address: ..
- RayletIpcClient::Disconnect, exit_type={type}, exit_detail={detail}, has creation_task_exception..
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from workers.entities.ends import EXIT_TYPES, WorkerDeath
from workers.log_pieces import LogPieces

# How lines of Ray's C++ processes begin.
TIME = r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) "
_WANTED = re.compile(rb"Reporting worker exit, worker id = |Leasing worker for actor\. actor_id=")
_CRASHED = re.compile(r"Reporting worker exit, worker id = ([0-9a-f]{56}),.* exit_detail = (.*?)\.? Unintentional worker failures")
_LEASING = re.compile(TIME + r".*Leasing worker for actor\. actor_id=([0-9a-f]{32})\b.* node_id=([0-9a-f]{56})")


@dataclass(frozen=True, slots=True)
class GcsLog:
    """`crashes`: details by worker id. `leases`: by actor id the nodes that were asked for a worker, and when (ms), in order."""

    crashes: dict[str, str] = field(default_factory=dict)
    leases: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


def read_gcs_log(logs: LogPieces, offset: timedelta) -> GcsLog:
    """`offset` is that of the head's clock from UTC."""
    found = GcsLog()
    for key in logs.rotated("gcs_server.out"):
        for line in logs.lines(key, _WANTED):
            if match := _CRASHED.search(line):
                found.crashes[match[1]] = match[2]
            elif match := _LEASING.search(line):
                found.leases.setdefault(match[2], []).append((ms_of(match[1], offset), match[3]))
    return found


def ms_of(local: str, offset: timedelta) -> int:
    """The time of a line of a log that was written on a clock so far from UTC, in ms since the epoch."""
    moment = datetime.strptime(local, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC) - offset
    return round(moment.timestamp() * 1000)


_OF_WORKERS = re.compile(rb"Started worker process with pid |Disconnecting worker, graceful=")
_STARTED = re.compile(TIME + r".*Started worker process with pid (\d+)\b.* worker_id=([0-9a-f]{56})")
_ENDED = re.compile(TIME + r".*Disconnecting worker, graceful=\w+, disconnect_type=(\d+)\b.* worker_id=([0-9a-f]{56})")
_REGISTERED = re.compile(TIME, re.MULTILINE)
_INITIALIZED = re.compile(TIME + r".*Initializing worker at address: [^ ]*:(\d+)\b", re.MULTILINE)
_SAID = re.compile(r"\bexit_type=(\w+), exit_detail=(.*?), has creation_task_exception", re.DOTALL)
_OWN_LOG = re.compile(r"([0-9a-f]{56})/logs/(?:old/)?python-core-(worker|driver)-([0-9a-f]{56})_(\d+)\.log")
# Own logs of at most so many workers are read, the latest ones: the others do without times of their start, and reasons.
_OWN_LOGS = 2000
_ENDS_READ = 16 << 10


@dataclass(slots=True)
class LoggedWorker:
    """One worker process. Times in ms since the epoch, 0 = unknown; `end` 0 = it did not end."""

    id: str
    node_id: str
    pid: int = 0
    port: int = 0
    launch: int = 0
    launched: int = 0
    start: int = 0
    end: int = 0
    exit_type: int = 0
    exit_detail: str = ""

    def death(self) -> WorkerDeath:
        return WorkerDeath(self.end, self.exit_type, self.exit_detail)


def logged_workers(logs: LogPieces, crashes: dict[str, str], offset: timedelta) -> dict[str, LoggedWorker]:
    """By id. `crashes` are the details that the GCS logged; `offset` is that of the nodes' clocks from UTC."""
    found: dict[str, LoggedWorker] = {}
    for key in logs.rotated("raylet.out"):
        node_id = key.partition("/")[0]
        for line in logs.lines(key, _OF_WORKERS):
            if match := _STARTED.search(line):
                worker = found.setdefault(match[3], LoggedWorker(match[3], node_id))
                worker.pid, worker.launch = int(match[2]), ms_of(match[1], offset)
            elif match := _ENDED.search(line):
                worker = found.setdefault(match[3], LoggedWorker(match[3], node_id))
                worker.end = worker.end or ms_of(match[1], offset)
                worker.exit_type = int(match[2])
    workers = {worker.id: worker for worker in found.values() if worker.launch}
    _read_own_logs(workers, logs, offset)
    for worker_id in crashes.keys() & workers.keys():
        workers[worker_id].exit_detail = crashes[worker_id]
    return workers


def _read_own_logs(workers: dict[str, LoggedWorker], logs: LogPieces, offset: timedelta) -> None:
    keys = {match[3]: key for key in logs.keys if (match := _OWN_LOG.fullmatch(key)) and match[2] == "worker"}
    latest = sorted((worker for worker in workers.values() if worker.id in keys), key=lambda worker: -worker.launch)[:_OWN_LOGS]
    texts = logs.both_ends([keys[worker.id] for worker in latest], _ENDS_READ)
    for worker in latest:
        text = texts.get(keys[worker.id], "")
        registered, initialized = _REGISTERED.search(text), _INITIALIZED.search(text)
        worker.launched = ms_of(registered[1], offset) if registered else 0
        worker.start = ms_of(initialized[1], offset) if initialized else worker.launched
        worker.port = int(initialized[2]) if initialized else 0
        if worker.end and (said := _SAID.findall(text)):
            worker.exit_detail = said[-1][1]


def driver_exits(logs: LogPieces) -> dict[str, tuple[str, str]]:
    """What drivers said when they ended: type and detail of the exit, by worker id. No event of any version tells."""
    keys = {match[3]: key for key in logs.keys if (match := _OWN_LOG.fullmatch(key)) and match[2] == "driver"}
    texts = logs.tails(list(keys.values())[-_OWN_LOGS:], _ENDS_READ)
    said = {worker_id: _SAID.findall(texts.get(key, "")) for worker_id, key in keys.items()}
    return {worker_id: found[-1] for worker_id, found in said.items() if found}


def logged_worker_rows(workers: Iterable[LoggedWorker], ips: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of the State API; `ips` by node id."""
    return [
        {
            "worker_id": worker.id,
            "is_alive": not worker.end,
            "worker_type": "WORKER",
            "exit_type": EXIT_TYPES[worker.exit_type] if worker.end and worker.exit_type < len(EXIT_TYPES) else None,
            "node_id": worker.node_id,
            "ip": ips.get(worker.node_id, ""),
            "pid": worker.pid,
            "exit_detail": worker.exit_detail or None,
            "worker_launch_time_ms": worker.launch,
            "worker_launched_time_ms": worker.launched,
            "start_time_ms": worker.start,
            "end_time_ms": worker.end,
            "debugger_port": None,
            "num_paused_threads": None,
        }
        for worker in workers
    ]
