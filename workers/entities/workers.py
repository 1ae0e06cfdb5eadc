"""Workers: rows of the State API (`state_aggregator.list_workers`), and which of them died, for the tasks that they left open."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from workers.entities.actors import Actor
from workers.entities.ends import EXIT_TYPES, WorkerDeath
from workers.entities.fields import hex_id, number, part, text
from workers.entities.histories import Histories, History, Malformed, Transition, each
from workers.entities.logged_workers import LoggedWorker

_TIMES = {
    "worker_launch_time_ms": "workerLaunchTimeMs",
    "worker_launched_time_ms": "workerLaunchedTimeMs",
    "start_time_ms": "startTimeMs",
    "end_time_ms": "endTimeMs",
}
# What GCS gives for a driver, which nobody launched.
_NOT_LAUNCHED = 2**64 - 1
_EXIT = re.compile(r"Worker exit type: (\w+) Worker exit detail: (.*)", re.DOTALL)
_DRIVER_SUFFIX = "f" * 48
_DRIVER_LOG = re.compile(r"([0-9a-f]{56})/logs/(?:old/)?python-core-driver-([0-9a-f]{8})f{48}_(\d+)\.log")


def worker_row(history: History, ips: dict[str, str]) -> dict[str, Any]:
    """`ips` by node id. A state's event prints 0 for the times it does not know: they never replace one that is known."""
    definition = history.definition
    node_id = hex_id(definition, "nodeId")
    times = dict.fromkeys(_TIMES, 0)
    for step in history.transitions:
        for column, name in _TIMES.items():
            times[column] = number(step.fields, name) or times[column]
    dead = history.last("DEAD")
    death = part(dead.fields, "deathInfo") if dead else {}
    return {
        "worker_id": history.id,
        "is_alive": dead is None,
        "worker_type": text(definition, "workerType") or "WORKER",
        "exit_type": text(death, "exitType") or None,
        "node_id": node_id,
        "ip": ips.get(node_id, ""),
        "pid": number(definition, "pid"),
        "exit_detail": text(death, "exitDetail") or None,
        **times,
        "debugger_port": None,
        "num_paused_threads": None,
    }


def driver_rows(
    drivers: Histories, log_names: Iterable[str], exits: dict[str, tuple[str, str]], ips: dict[str, str], malformed: Malformed
) -> list[dict[str, Any]]:
    """Drivers are workers too, but no event says so: their jobs' events and, for Ray's own jobs, the names of their log files do.

    `log_names` are keys below the session, `exits` what drivers said of their ends, by worker id.
    """
    rows = {}
    for key in log_names:
        if match := _DRIVER_LOG.fullmatch(key):
            row = _driver_row(History(match[2]), match[1], int(match[3]), ips)
            rows[row["worker_id"]] = row
    of_jobs = each(drivers.values(), lambda job: _driver_row(job, driver_node(job), number(job.definition, "driverPid"), ips), malformed)
    rows |= {row["worker_id"]: row for row in of_jobs}
    for row in rows.values():
        if not row["is_alive"]:
            row["exit_type"], row["exit_detail"] = exits.get(row["worker_id"], (None, None))
    return list(rows.values())


def driver_node(job: History) -> str:
    """The node of a job's driver; "" if its definition was lost."""
    return hex_id(job.definition, "driverNodeId")


def _driver_row(history: History, node_id: str, pid: int, ips: dict[str, str]) -> dict[str, Any]:
    created, finished = history.first("CREATED"), history.last("FINISHED")
    return {
        "worker_id": history.id + _DRIVER_SUFFIX,
        "is_alive": finished is None,
        "worker_type": "DRIVER",
        "exit_type": None,
        "node_id": node_id,
        "ip": ips.get(node_id, ""),
        "pid": pid,
        "exit_detail": None,
        "worker_launch_time_ms": _NOT_LAUNCHED,
        "worker_launched_time_ms": _NOT_LAUNCHED,
        "start_time_ms": created.ms if created else 0,
        "end_time_ms": finished.ms if finished else 0,
        "debugger_port": None,
        "num_paused_threads": None,
    }


def deaths(
    workers: Histories, logged: Iterable[LoggedWorker], actors: Iterable[Actor], log_events: Iterable[dict[str, Any]]
) -> dict[str, WorkerDeath]:
    """Dead workers by id. Without WORKER_* events the raylets' logs say best; where those are lost, actors and log events tell of some."""
    if workers:
        return {worker_id: _death(dead) for worker_id, history in workers.items() if (dead := history.last("DEAD"))}
    told = {worker.id: worker.death() for worker in logged if worker.end}
    return _deaths_told_by_raylets(log_events) | _deaths_told_by_actors(actors) | told


def _death(dead: Transition) -> WorkerDeath:
    info = part(dead.fields, "deathInfo")
    return WorkerDeath(number(dead.fields, "endTimeMs") or dead.ms, _exit_type(text(info, "exitType")), text(info, "exitDetail"))


def _deaths_told_by_actors(actors: Iterable[Actor]) -> dict[str, WorkerDeath]:
    """An actor whose worker died says how; one that was restarted, or killed with its owner, only says when."""
    found = {}
    for actor in actors:
        for end in actor.deaths:
            match = _EXIT.search(end.message)
            if match:
                found[end.worker_id] = WorkerDeath(end.ms, _exit_type(match[1]), match[2])
            else:
                found[end.worker_id] = WorkerDeath(end.ms, EXIT_TYPES.index("INTENDED_SYSTEM_EXIT"), end.message)
    return found


def _deaths_told_by_raylets(log_events: Iterable[dict[str, Any]]) -> dict[str, WorkerDeath]:
    """`RAY_WORKER_FAILURE`: workers that crashed; the time is in whole seconds."""
    found = {}
    for event in log_events:
        worker_id = text(part(event, "custom_fields"), "worker_id")
        match = _EXIT.search(text(event, "message")) if worker_id else None
        if match:
            found[worker_id] = WorkerDeath(number(event, "timestamp") * 1000, _exit_type(match[1]), match[2])
    return found


def _exit_type(name: str) -> int:
    return EXIT_TYPES.index(name) if name in EXIT_TYPES else 0
