"""From what a request names (a file, a task, an actor, a process, a submission) to the stored log.

Mirrors `LogsManager.resolve_filename` of Ray's `log_manager`, with its messages. Two things live cannot do: a node that is gone
still has its logs, and those of a worker that ended are found where Ray moved them.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import anyio
import msgspec

from api.dashboard.logs.content import LogFile
from api.dashboard.logs.names import GZ, OLD, below_logs, shown_path
from api.dashboard.logs.nodes import all_nodes, checked_id, checked_node, is_node, log_names, node_of_ip
from api.dashboard.logs.options import LogOptions
from api.dashboard.logs.task_lines import NotSure, lines_before, lines_of_run
from api.dashboard.routing import DashboardScope
from api.snapshots.filters import make_filter
from shared.errors import ObjectNotFound
from shared.layout import log_prefixes
from shared.ray.columns import TASKS
from shared.ray.versions import LOG_INFO, WHOLE_LOG_INFO

_TASK_DIGITS, _ACTOR_DIGITS = 48, 32
_MOST_RUNS = 10_000
_WORKER_LOG = re.compile(r"(?:old/)?worker-([0-9a-f]+)-([0-9a-f]+)-(\d+)\.(out|err)(?:\.gz)?")


class LogNotFound(LookupError):
    """There is no such log. The message is live's."""


async def resolve(scope: DashboardScope, options: LogOptions) -> LogFile:
    """Raises LogNotFound, BadId, StorageUnavailable."""
    node_id = checked_node(options.node_id) if options.node_id else None
    if node_id is None and options.node_ip:
        node_id = await node_of_ip(scope, options.node_ip)
        if node_id is None and not (options.actor_id or options.task_id or options.submission_id):
            raise LogNotFound(f"Cannot find matching node_id for a given node ip {options.node_ip}")
    found: LogFile | None = None
    if options.actor_id:
        found = await _of_actor(scope, checked_id(options.actor_id, _ACTOR_DIGITS), options.suffix)
    elif options.task_id:
        return await _of_task(scope, checked_id(options.task_id, _TASK_DIGITS), options)
    elif options.submission_id:
        found = await _of_submission(scope, options.submission_id)
    elif options.pid and node_id:
        found = await _of_worker(scope, node_id, options.suffix, pid=options.pid)
    elif options.filename and node_id:
        return await _of_name(scope, node_id, options.filename)
    if found is None:
        raise LogNotFound(_nothing_found(node_id, options))
    return found


async def _of_name(scope: DashboardScope, node_id: str, filename: str) -> LogFile:
    found = await _stored(scope, node_id, filename)
    if found is not None:
        return found
    if not await is_node(scope, node_id):
        raise LogNotFound(f"Agent for node id: {node_id} doesn't exist.")
    raise LogNotFound(f"A file is not found at: {shown_path(filename, scope.session.session)}")


async def _stored(scope: DashboardScope, node_id: str, filename: str) -> LogFile | None:
    """The object behind a name: as it is, packed by the collector, or moved to `old/` by Ray."""
    name = below_logs(filename, scope.session.session)
    if name is None:
        return None
    moved = posixpath.join(OLD, posixpath.basename(name))
    names = dict.fromkeys((name, name + GZ, moved, moved + GZ))
    candidates = [prefix + place for prefix in log_prefixes(scope.session, node_id) for place in names]

    def look() -> LogFile | None:
        for key in candidates:
            try:
                return LogFile(key, scope.storage.size(key))
            except ObjectNotFound:
                continue
        return None

    return await anyio.to_thread.run_sync(look)


async def _of_worker(
    scope: DashboardScope, node_id: str, suffix: str, *, worker_id: str | None = None, pid: int | None = None, job_id: str = ""
) -> LogFile | None:
    """A worker's own file, `worker-{worker}-{job}-{pid}.{suffix}`; of several that had the pid in turn, the one of the job."""
    fits: list[tuple[bool, bool, str]] = []
    for name in await log_names(scope, node_id):
        match = _WORKER_LOG.fullmatch(name)
        if match and match[4] == suffix and (match[1] == worker_id if worker_id else int(match[3]) == pid):
            fits.append((match[2] != job_id, name.startswith(OLD), name))
    return await _stored(scope, node_id, min(fits)[2]) if fits else None


async def _of_actor(scope: DashboardScope, actor_id: str, suffix: str) -> LogFile | None:
    """The log of its last worker; without one, of a worker that ran it before a restart."""
    rows = await _rows(scope, "actors", "actor_id", actor_id)
    if not rows:
        raise LogNotFound(f"Actor ID ActorID({actor_id}) not found.")
    node_id, pid = rows[0].get("node_id"), rows[0].get("pid")
    if node_id and pid:
        found = await _of_worker(scope, node_id, suffix, pid=pid, job_id=actor_id[-8:])
        if found:
            return found
    workers = await _workers_of_actor(scope, actor_id)
    for node, worker in workers:
        found = await _of_worker(scope, node, suffix, worker_id=worker)
        if found:
            return found
    if not workers and not (node_id and pid):
        raise LogNotFound(f"Worker ID for Actor ID ActorID({actor_id}) not found. Actor is not scheduled yet.")
    return None


async def _workers_of_actor(scope: DashboardScope, actor_id: str) -> list[tuple[str, str]]:
    """Node and worker of every incarnation that ran a task."""
    if "tasks" not in (await scope.snapshot.meta()).tables:
        return []
    table = scope.snapshot.table("tasks")
    counts = await table.column_counts(("node_id", "worker_id"), [make_filter(TASKS, "actor_id", "=", actor_id)])
    return [(str(node), str(worker)) for node, worker in counts if node and worker]


async def _of_task(scope: DashboardScope, task_id: str, options: LogOptions) -> LogFile:
    """The bytes that one attempt wrote to its worker's file."""
    attempt = options.attempt_number
    rows = await _rows(scope, "tasks", "task_id", task_id)
    if not rows:
        raise LogNotFound(f"Could not find log file for task: {task_id} (attempt {attempt}) with suffix: {options.suffix}")
    row = next((row for row in rows if row["attempt_number"] == attempt), None)
    if row is None:
        raise LogNotFound(f"Could not find log file for task attempt:{task_id}({attempt})")
    node_id, info, actor_id = row["node_id"], row["task_log_info"], row["actor_id"]
    if not node_id:
        raise LogNotFound(f"Could not find log file for task attempt.{task_id}({attempt}) due to missing node info.")
    version = (await scope.snapshot.meta()).ray_version
    if row["type"] == "NORMAL_TASK" and not WHOLE_LOG_INFO.in_ray(version) and (info is not None or not LOG_INFO.in_ray(version)):
        return await _by_markers(scope, row, options)
    if info is None and actor_id:
        raise LogNotFound(_ASK_THE_ACTOR.format(actor=actor_id))
    if info is None:
        raise LogNotFound(
            f"Could not find log file for task attempt:{task_id}({attempt})."
            f"Worker id = {row['worker_id']}, node id = {node_id},log_info = None"
        )
    filename = info.get(f"std{options.suffix}_file")
    if not filename:
        raise LogNotFound(f"Missing log filename info in {info} for task {task_id},attempt {attempt}")
    file = await _of_name(scope, node_id, filename)
    return LogFile(file.key, file.size, info.get(f"std{options.suffix}_start") or 0, info.get(f"std{options.suffix}_end"))


async def _by_markers(scope: DashboardScope, row: dict[str, Any], options: LogOptions) -> LogFile:
    """The same where Ray did not export all of it: the worker's own file, and in it the markers of tasks."""
    attempt = f"{row['task_id']}({row['attempt_number']})"
    worker_id, node_id, name = row["worker_id"], row["node_id"], row["name"] or row["func_or_class_name"]
    file = await _of_worker(scope, node_id, options.suffix, worker_id=worker_id, job_id=row["job_id"]) if worker_id else None
    if file is None:
        raise LogNotFound(f"Could not find log file for task attempt:{attempt}.Worker id = {worker_id}, node id = {node_id}")
    end = int((row["task_log_info"] or {}).get(f"std{options.suffix}_end") or 0)
    try:
        if end:
            return await anyio.to_thread.run_sync(lines_before, scope.storage, file, name, end)
        run, runs = await _run_of(scope, row, name)
        return await anyio.to_thread.run_sync(lines_of_run, scope.storage, file, name, run, runs)
    except NotSure as exc:
        version = (await scope.snapshot.meta()).ray_version
        raise LogNotFound(f"Ray {version} did not export which lines task attempt:{attempt} wrote, and {exc}") from None


async def _run_of(scope: DashboardScope, row: dict[str, Any], name: str) -> tuple[int, int]:
    """Of how many tasks of that name that its worker began, in order, which one an attempt is. Raises NotSure."""
    filters = [make_filter(TASKS, "worker_id", "=", row["worker_id"]), make_filter(TASKS, "type", "=", "NORMAL_TASK")]
    page = await scope.snapshot.table("tasks").select(filters, limit=_MOST_RUNS, detail=True)
    if page.num_filtered > _MOST_RUNS:
        raise NotSure(f"its worker ran {page.num_filtered} tasks")
    tasks = [task for task in map(msgspec.json.decode, page.rows) if (task["name"] or task["func_or_class_name"]) == name]
    began = [task["start_time_ms"] for task in tasks if task["start_time_ms"] is not None]
    if began.count(row["start_time_ms"]) != 1:
        raise NotSure("it is not known in which order its worker began its tasks")
    return sorted(began).index(row["start_time_ms"]), len(began)


async def _of_submission(scope: DashboardScope, submission_id: str) -> LogFile | None:
    """A job's driver log lies on the node that ran the entrypoint, which no event tells of a job that never connected."""
    rows = await _rows(scope, "jobs", "submission_id", submission_id)
    if not rows:
        return None
    told = [row["driver_node_id"] for row in rows if row.get("driver_node_id")]
    for node_id in dict.fromkeys([*told, *await all_nodes(scope)]):
        found = await _stored(scope, node_id, f"job-driver-{submission_id}.log")
        if found:
            return found
    return None


async def _rows(scope: DashboardScope, table: str, column: str, value: str) -> list[dict[str, Any]]:
    if table not in (await scope.snapshot.meta()).tables:
        return []
    return [msgspec.json.decode(row) for row in await scope.snapshot.table(table).rows_where(column, value)]


def _nothing_found(node_id: str | None, options: LogOptions) -> str:
    return (
        "Could not find a log file. Please make sure the given option exists in the cluster.\n"
        f"\tnode_id: {node_id}\n"
        f"\tfilename: {options.filename}\n"
        f"\tactor_id: {options.actor_id}\n"
        f"\ttask_id: {options.task_id}\n"
        f"\tpid: {options.pid}\n"
        f"\tsuffix: {options.suffix}\n"
        f"\tsubmission_id: {options.submission_id}\n"
        f"\tattempt_number: {options.attempt_number}\n"
    )


_ASK_THE_ACTOR = (
    "For actor task, please query actor log for actor({actor}): e.g. ray logs actor --id {actor} . Or "
    "set RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING=1 in actor's runtime env or when starting the cluster. Recording actor task's log could "
    "be expensive, so Ray turns it off by default."
)
