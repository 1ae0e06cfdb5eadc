"""The query string of `/api/v0/logs/{media_type}`, checked as live checks it (Ray: `GetLogOptions` of `ray.util.state.common`)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import QueryParams

DEFAULT_LINES = 1000
DEFAULT_DOWNLOAD_FILENAME = "file.txt"
_MEDIA_TYPES = ("file", "stream")
_SUFFIXES = ("out", "err")


class BadOptions(ValueError):
    """A request for which live's handler fails before it looks for a log: 500, "Server got itself in trouble"."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which log, and how much of it. `lines` says how many last ones, or ALL_LINES."""

    node_id: str | None
    node_ip: str | None
    filename: str | None
    download_filename: str
    actor_id: str | None
    task_id: str | None
    attempt_number: int
    pid: int | None
    submission_id: str | None
    lines: int
    suffix: str
    filter_ansi_code: bool


def log_options(media_type: str, query: QueryParams) -> LogOptions:
    """Raises BadOptions.

    Unlike live, a `submission_id` needs no node: a job's driver log is found by it alone (live's own error there is a fault of Ray).
    """
    _int(query.get("timeout", "30"))
    interval = query.get("interval")
    if media_type not in _MEDIA_TYPES or (interval is not None and (media_type == "file" or not _is_number(interval))):
        raise BadOptions(media_type)
    options = LogOptions(
        node_id=query.get("node_id"),
        node_ip=query.get("node_ip"),
        filename=query.get("filename"),
        download_filename=query.get("download_filename", DEFAULT_DOWNLOAD_FILENAME),
        actor_id=query.get("actor_id"),
        task_id=query.get("task_id"),
        attempt_number=_int(query.get("attempt_number", "0")),
        pid=None if (pid := query.get("pid")) is None else _int(pid),
        submission_id=query.get("submission_id"),
        # Live's agent takes 0 for "not given".
        lines=_int(query.get("lines", str(DEFAULT_LINES))) or DEFAULT_LINES,
        suffix=query.get("suffix", "out"),
        filter_ansi_code=query.get("filter_ansi_code", "").lower() == "true",
    )
    by_entity = options.actor_id or options.task_id or options.submission_id
    if (options.node_id and options.node_ip) or not (options.node_id or options.node_ip or by_entity):
        raise BadOptions("exactly one of node_id and node_ip")
    if not (by_entity or options.pid or options.filename) or options.suffix not in _SUFFIXES:
        raise BadOptions("none of actor_id, task_id, pid, submission_id or filename")
    return options


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadOptions(text) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
