"""Submitted jobs: everything that tells of one, since its own record (`JobInfo` in Ray's KV) is not exported.

The job manager's log events say when it began and how it ended; its supervisor actor where and when it ran; its driver's events
what ran; its log files the exact entrypoint, and the last lines of a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from workers.entities.actors import Actor
from workers.entities.fields import number, part, text
from workers.entities.histories import Histories, History
from workers.log_pieces import LogPieces

# What the kernel takes as one argument of `sh -c`.
LONGEST = 128 << 10
_STEP = re.compile(r"""\\.|'|"|(?<!<)<<-?[ \t]*(['"]?)(\w+)\1|(?<=\s)\#[^\n]*|\n""", re.DOTALL)
_PRINTED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\t|\[|\x1b|Traceback ")
_LINES_BEFORE_CALL = 200


def entrypoint(log: str, submission_id: str, called: str = "") -> str | None:
    """`log` begins at the start of the file, `called` is the driver's own command line. None if the log does not say, or was cut."""
    _, told, text = log.partition(f"Running entrypoint for job {submission_id}: ")
    end = _end_of_command(text) if told else None
    if end is None:
        # A quote that nothing closes: an apostrophe in what a shell would not take either.
        return None if not told or len(log) < LONGEST or "\n" not in text else text[: text.index("\n")]
    arguments = _unquoted(called.partition(" ")[2])
    if arguments and arguments not in _unquoted(text[:end]):
        end = _call_below(text, end, arguments) or end
    return text[:end]


def _call_below(text: str, end: int, arguments: str) -> int | None:
    """Where the command ends that is called with these arguments, if it comes before anything that was printed."""
    lines = text[end + 1 :].split("\n", _LINES_BEFORE_CALL)[:_LINES_BEFORE_CALL]
    for line, length in zip(lines, accumulate(len(line) + 1 for line in lines), strict=True):
        if _PRINTED.match(line):
            return None
        if arguments in _unquoted(line):
            return end + length
    return None


def _unquoted(text: str) -> str:
    return text.replace("'", "").replace('"', "")


def _end_of_command(text: str) -> int | None:
    """The newline that ends the shell command at the start of `text`; None if it is not in it."""
    quote, documents, at = "", list[str](), 0
    while (step := _STEP.search(text, at)) is not None:
        at, found = step.end(), step[0]
        if quote:
            # In single quotes a backslash is one.
            if found == quote:
                quote = ""
            elif (quote == "'" and found.startswith("\\")) or found[0] not in "\\'\"\n":
                at = step.start() + 1
        elif found in ("'", '"'):
            quote = found
        elif found == "\n":
            if not documents:
                return step.start()
            closed = re.compile(rf"^\t*{re.escape(documents.pop(0))}$", re.MULTILINE).search(text, at)
            if closed is None:
                return None
            at = closed.end()
        elif step[2]:
            documents.append(step[2])
    return None


SUPERVISOR_NAMESPACE = "SUPERVISOR_ACTOR_RAY_NAMESPACE"
_SUPERVISOR_NAME = "_ray_internal_job_actor_"
_STARTED = re.compile(r"Started a ray job (.+)\.", re.DOTALL)
_COMPLETED = re.compile(r"Completed a ray job (.+?) with a status (\w+)\.(?: (.*))?", re.DOTALL)
_EXITED = re.compile(r" entrypoint command exited with code (-?\d+)")
_TIMESTAMP = re.compile(r"\btimestamp_ns=(\d+)")
_HEAD_BYTES, _TAIL_BYTES, _SUPERVISOR_BYTES = 16 << 10, 96 << 10, 16 << 10
# Live's `job_log_storage_client`.
_TAIL_LINES, _TAIL_CHARS = 10, 20_000
# Jobs whose logs are looked into at load, the latest ones; the others do without.
_LOGS_READ = 500


@dataclass(slots=True)
class Submission:
    """One submitted job. Times in ms since the epoch, 0 = unknown; `log_*` are pieces of its log files, None = unknown."""

    id: str
    driver: History | None = None
    former_drivers: list[History] = field(default_factory=list)
    supervisor: Actor | None = None
    exported: History | None = None
    logged_start: int = 0
    logged_end: int = 0
    logged_status: str = ""
    logged_message: str = ""
    log_entrypoint: str | None = None
    log_tail: str | None = None
    exit_code: int | None = None
    exit_ms: int = 0
    log_nodes: dict[str, str] = field(default_factory=dict)

    @property
    def node_id(self) -> str:
        """Where its entrypoint runs."""
        if self.supervisor and self.supervisor.node_id:
            return self.supervisor.node_id
        return next(iter(self.log_nodes), "")


def submissions(
    drivers: Histories, exported: Histories, actors: Iterable[Actor], log_events: Iterable[dict[str, Any]], logs: LogPieces
) -> list[Submission]:
    """Every submitted job that anything tells of."""
    found: dict[str, Submission] = {}

    def of(submission_id: str) -> Submission:
        return found.setdefault(submission_id, Submission(submission_id))

    for history in sorted(drivers.values(), key=lambda history: history.id):
        if submission_id := submission_of(history):
            job = of(submission_id)
            if job.driver:
                job.former_drivers.append(job.driver)
            job.driver = history  # the last driver counts, as in live
    for history in exported.values():
        of(history.id).exported = history
    for actor in actors:
        if text(actor.definition, "rayNamespace") == SUPERVISOR_NAMESPACE and actor.name.startswith(_SUPERVISOR_NAME):
            of(actor.name.removeprefix(_SUPERVISOR_NAME)).supervisor = actor
    for event in log_events:
        _apply_log_event(event, of)
    jobs = list(found.values())
    _read_logs(sorted(jobs, key=lambda job: job.logged_start or _supervisor_start(job), reverse=True)[:_LOGS_READ], logs)
    return jobs


def submission_of(driver: History) -> str:
    """The id under which a driver's job was submitted; "" for a driver that nobody submitted."""
    return text(part(part(driver.definition, "config"), "metadata"), "job_submission_id")


def _supervisor_start(job: Submission) -> int:
    return job.supervisor.start if job.supervisor else 0


def _apply_log_event(event: dict[str, Any], of: Any) -> None:
    submission_id = text(part(event, "custom_fields"), "submission_id")
    if text(event, "source_type") != "JOBS" or not submission_id:
        return
    job: Submission = of(submission_id)
    message = text(event, "message")
    if _STARTED.fullmatch(message):
        job.logged_start = number(event, "timestamp") * 1000
    elif match := _COMPLETED.fullmatch(message):
        job.logged_end = number(event, "timestamp") * 1000
        job.logged_status, job.logged_message = match[2], match[3] or ""


def _read_logs(jobs: Sequence[Submission], logs: LogPieces) -> None:
    """Entrypoints of all, and how the failed ones failed."""
    keys = {job.id: logs.named(f"job-driver-{job.id}.log") for job in jobs}
    heads = logs.heads([key for of_job in keys.values() for key in of_job], _HEAD_BYTES)
    for job in jobs:
        called = text(job.driver.definition, "entrypoint") if job.driver else ""
        for key in keys[job.id]:
            head = heads.get(key, "")
            if f"Running entrypoint for job {job.id}: " not in head:
                continue
            job.log_nodes = {_node_of(key): key}
            job.log_entrypoint = entrypoint(head, job.id, called)
            if job.log_entrypoint is None:
                longer = logs.heads([key], LONGEST + _HEAD_BYTES).get(key, "")
                job.log_entrypoint = entrypoint(longer, job.id, called)
        if not job.log_nodes:
            job.log_nodes = {_node_of(key): key for key in keys[job.id]}
    failed = [job for job in jobs if not job.logged_message and job.logged_status not in ("SUCCEEDED", "STOPPED")]
    ends = logs.tails([key for job in failed for key in _supervisor_logs(job, logs)], _SUPERVISOR_BYTES)
    for job in failed:
        _apply_exit(job, [ends[key] for key in _supervisor_logs(job, logs) if key in ends])
    crashed = {job.id: driver_log for job in failed if job.exit_code and (driver_log := job.log_nodes.get(job.node_id))}
    tails = logs.tails(list(crashed.values()), _TAIL_BYTES)
    for job in failed:
        if (last := tails.get(crashed.get(job.id, ""))) is not None:
            job.log_tail = "".join(last.splitlines(keepends=True)[-_TAIL_LINES:])[-_TAIL_CHARS:]


def _supervisor_logs(job: Submission, logs: LogPieces) -> list[str]:
    return logs.named(f"jobs/supervisor-{job.id}.log")


def _apply_exit(job: Submission, supervisor_logs: Iterable[str]) -> None:
    for content in supervisor_logs:
        for line in content.splitlines():
            if match := _EXITED.search(line):
                job.exit_code = int(match[1])
                moment = _TIMESTAMP.search(line)
                job.exit_ms = int(moment[1]) // 10**6 if moment else 0


def _node_of(key: str) -> str:
    return key.partition("/")[0]
