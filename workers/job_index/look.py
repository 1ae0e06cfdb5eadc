"""What a session's jobs were, from at most three small reads: no session is loaded for it.

The job manager's log events say which jobs were submitted, when they ended and how; a stored answer of `/api/jobs/`, where the collector
polls it, says everything. Drivers that nobody submitted, and counts of tasks, are known after the session was loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from shared.errors import ObjectNotFound
from shared.jobs import FAILED, SessionJobs, job_of_row
from shared.layout import data_prefixes, endpoint_of, key_below
from shared.sessions import Session
from shared.storage.port import ObjectInfo, Storage
from workers.bad_data import BAD_DATA, Skipped
from workers.entities.fields import decoded_object, noticing, part, text
from workers.entities.histories import Malformed
from workers.entities.jobs import job_rows
from workers.entities.log_events import read_log_events
from workers.entities.stored_answers import ENDPOINT, with_stored_jobs
from workers.entities.submissions import Submission, entrypoint, submissions
from workers.log_pieces import LogPieces
from workers.sibling_sessions import METADATA

# Of log events the end, as they tell of the latest jobs; a larger answer is left to the load.
_LOG_EVENTS, _LARGEST_ANSWER, _LOG_PIECE = 1 << 20, 4 << 20, 64 << 10
# As many as the job manager puts into its message.
_LAST_LINES = 10
_JOB_EVENTS = "logs/events/event_JOBS.log"
_DRIVER_LOG = "logs/job-driver-"


@dataclass(slots=True)
class JobFiles:
    """The files of a session that tell of its jobs. `nodes`: those that left anything."""

    log_events: ObjectInfo | None = None
    answer: ObjectInfo | None = None
    metadata: ObjectInfo | None = None
    driver_logs: dict[str, ObjectInfo] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    found: bool = False
    """Is anything of the session in the bucket?"""

    def digest(self) -> str:
        """Another one means that there is more to tell."""
        made_of = [f"{file.key} {file.size}" for file in (self.log_events, self.answer, self.metadata) if file]
        return hashlib.blake2b("\n".join([*made_of, str(len(self.nodes))]).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def list_job_files(storage: Storage, session: Session) -> JobFiles:
    """One listing of the session. Raises StorageUnavailable."""
    return sort_job_files(session, chain.from_iterable(map(storage.list, data_prefixes(session))))


def sort_job_files(session: Session, listing: Iterable[ObjectInfo]) -> JobFiles:
    files = JobFiles()
    for file in listing:
        files.found = True
        below = key_below(session, file.key)
        if (path := endpoint_of(below)) is not None:
            if path == METADATA:
                files.metadata = file
            elif path.partition("?")[0].rstrip("/") == ENDPOINT and file.size <= _LARGEST_ANSWER:
                files.answer = file
            continue
        node, _, rest = below.partition("/")
        if rest.startswith(("logs/", "node_events/", "job_events/")):
            files.nodes.add(node)
        # Only the head's says anything; a head that came back as another node began a new one.
        if rest == _JOB_EVENTS and file.size and (files.log_events is None or file.size > files.log_events.size):
            files.log_events = file
        elif rest.startswith(_DRIVER_LOG) and rest.endswith(".log"):
            files.driver_logs[rest.removeprefix(_DRIVER_LOG).removesuffix(".log")] = file
    return files


def read_jobs(storage: Storage, session: Session, files: JobFiles) -> SessionJobs:
    """Raises StorageUnavailable. What is malformed costs itself, as in a load."""
    skipped = Skipped()
    malformed = Malformed(skipped)
    log_events = _read_end(storage, files.log_events, _LOG_EVENTS)
    answer = _read_end(storage, files.answer, _LARGEST_ANSWER)
    metadata = _read_end(storage, files.metadata, _LARGEST_ANSWER)
    with noticing(skipped):
        events = read_log_events([(_JOB_EVENTS, log_events)], malformed)
        submitted = submissions({}, {}, [], events, LogPieces(storage, {}, lambda *_: None))
        if not answer:
            _read_driver_log(storage, submitted, files.driver_logs)
        answers = {ENDPOINT: answer} if answer else {}
        # Which driver was a job's is in no log event.
        drivers = {row.get("submission_id"): row.get("job_id") for row in with_stored_jobs([], answers, malformed)}
        rows = [row | {"job_id": drivers.get(row["submission_id"])} for row in job_rows({}, submitted, {}, session, malformed)]
        rows = with_stored_jobs(rows, answers, malformed)
        return SessionJobs(session.to_dict(), list(map(job_of_row, rows)), ray_version=_ray_version(metadata), nodes=len(files.nodes))


def _read_end(storage: Storage, file: ObjectInfo | None, most: int) -> bytes:
    """b"" for a file that is not there, or not any more."""
    if file is None or not file.size:
        return b""
    with suppress(ObjectNotFound):
        if file.size <= most:
            return storage.read(file.key)
        return storage.read_range(file.key, file.size - most, most).partition(b"\n")[2]
    return b""


def _read_driver_log(storage: Storage, submitted: list[Submission], logs: dict[str, ObjectInfo]) -> None:
    """Of one job, the last that failed if any did: its entrypoint, and what it printed last. RayJob clusters have no more than one."""
    known = sorted((job for job in submitted if job.id in logs), key=lambda job: (job.logged_status == FAILED, job.logged_start))
    if not known or not logs[known[-1].id].size:
        return
    job, file = known[-1], logs[known[-1].id]
    explained = job.logged_status != FAILED or bool(job.logged_message)
    # A large log has one end only for one read: the one that says why.
    start = 0 if explained or file.size <= _LOG_PIECE else file.size - _LOG_PIECE
    with suppress(ObjectNotFound):
        text = storage.read_range(file.key, start, _LOG_PIECE).decode(errors="replace")
        if not start:
            job.log_entrypoint = entrypoint(text, job.id)
        if not explained:
            job.logged_message = "Job failed. Its log ends with:\n" + "\n".join(text.splitlines()[-_LAST_LINES:])


def _ray_version(metadata: bytes) -> str:
    told: dict[str, Any] = {}
    with suppress(*BAD_DATA):
        told = decoded_object(metadata)
    return text(part(told, "data"), "rayVersion")
