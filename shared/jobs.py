"""What the index of jobs over all sessions holds: a few KB a session, from which `/jobs` is answered without loading any."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import zstandard

from shared.ray.error_text import last_raised
from shared.sessions import Session
from shared.snapshot_format import compress, decompress

SUCCEEDED, FAILED, STOPPED = ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
STATUSES = ("PENDING", "RUNNING", *ENDED)

# Bytes count: there may be a hundred thousand jobs. Of a long message both ends are kept: what failed, and the last lines of a traceback.
_ENTRYPOINT, _MESSAGE_START, _MESSAGE_END, _ERROR = 500, 200, 500, 300
_METADATA_ITEMS, _METADATA_TEXT = 20, 200
# No calendar has a later time: whoever shows it would fail.
_YEAR_10000 = 253_402_300_800_000
_CUT = "\n...\n"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Job(msgspec.Struct, array_like=True):
    """One job of a session. Times in ms since the epoch, 0: not known.

    `tasks`: attempts of its tasks by state, its driver's own left out; None: not known before the session was loaded.
    """

    type: str
    job_id: str
    submission_id: str
    status: str
    entrypoint: str
    message: str
    error_type: str
    metadata: dict[str, str]
    start: int
    end: int
    tasks: dict[str, int] | None = None

    @property
    def id(self) -> str:
        """As the Ray dashboard's pages name it."""
        return self.job_id or self.submission_id

    @property
    def identity(self) -> str:
        """Which job of its session it is, whatever else is known of it."""
        return self.submission_id or self.job_id

    @property
    def failures(self) -> int | None:
        """Task attempts that failed."""
        return None if self.tasks is None else self.tasks.get("FAILED", 0)

    @property
    def error(self) -> str:
        """What a failed job's message comes down to, in one line."""
        if self.status != FAILED:
            return ""
        return (last_raised(self.message.replace(_CUT, "\n")) or self.message.rpartition("\n")[2])[:_ERROR]


class SessionJobs(msgspec.Struct, array_like=True):
    """The jobs of one session. `complete`: that of the snapshot that they are from; None: the session was not loaded yet.

    `nodes`: how many it had in all, 0: not known.
    """

    about: dict[str, str | None]
    jobs: list[Job]
    ray_version: str = ""
    nodes: int = 0
    complete: bool | None = None

    @property
    def session(self) -> Session:
        return Session.from_dict(self.about)


class _Entry(msgspec.Struct, array_like=True):
    """SessionJobs whose jobs are not decoded."""

    about: dict[str, str | None]
    jobs: list[msgspec.Raw]
    ray_version: str = ""
    nodes: int = 0
    complete: bool | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SessionJobs).decode
_decode_entry = msgspec.msgpack.Decoder(_Entry).decode
_decode_job = msgspec.msgpack.Decoder(Job).decode


def pack(jobs: SessionJobs) -> bytes:
    return compress(_encode(jobs))


def unpack(packed: bytes) -> SessionJobs:
    """Raises ValueError for what is no entry."""
    try:
        return _decode(decompress(packed))
    except (zstandard.ZstdError, msgspec.MsgspecError) as exc:
        raise ValueError(str(exc)) from exc


def unpack_some(packed: bytes, places: Iterable[int]) -> SessionJobs:
    """With only these of its jobs, in this order: most of the time of `unpack` goes to decoding jobs. Raises ValueError, too."""
    try:
        entry = _decode_entry(decompress(packed))
        jobs = [_decode_job(entry.jobs[place]) for place in places]
    except (zstandard.ZstdError, msgspec.MsgspecError) as exc:
        raise ValueError(str(exc)) from exc
    return SessionJobs(entry.about, jobs, entry.ray_version, entry.nodes, entry.complete)


def job_of_row(row: dict[str, Any], tasks: dict[str, int] | None = None) -> Job:
    """From a row of the State API's jobs (`JobDetails`). Whatever is of another kind than it should be is left empty."""
    given = row.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    texts = {str(key)[:_METADATA_TEXT]: _text(value)[:_METADATA_TEXT] for key, value in metadata.items()}
    return Job(
        type=_text(row.get("type")),
        job_id=_text(row.get("job_id")),
        submission_id=_text(row.get("submission_id")),
        status=_text(row.get("status")),
        entrypoint=_text(row.get("entrypoint"))[:_ENTRYPOINT],
        message=_both_ends(_COLOUR.sub("", _text(row.get("message"))).strip()),
        error_type=_text(row.get("error_type")),
        metadata=dict(list(texts.items())[:_METADATA_ITEMS]),
        start=_ms(row.get("start_time")),
        end=_ms(row.get("end_time")),
        tasks=tasks,
    )


def merged(known: SessionJobs, told: SessionJobs) -> SessionJobs:
    """What a load knew, and what less than a load tells since: ends of jobs that ran, and new jobs."""
    by_identity = {job.identity: job for job in known.jobs}
    for job in told.jobs:
        former = by_identity.get(job.identity)
        if former is None:
            by_identity[job.identity] = job
        elif job.status in ENDED and former.status not in ENDED:
            outcome = {"status": job.status, "message": job.message, "error_type": job.error_type, "end": job.end}
            by_identity[job.identity] = msgspec.structs.replace(former, **outcome)
    return msgspec.structs.replace(
        known, jobs=list(by_identity.values()), ray_version=known.ray_version or told.ray_version, nodes=max(known.nodes, told.nodes)
    )  # fmt: skip


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _ms(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _YEAR_10000 else 0


def _both_ends(message: str) -> str:
    if len(message) <= _MESSAGE_START + _MESSAGE_END:
        return message
    return message[:_MESSAGE_START] + _CUT + message[-_MESSAGE_END:]
