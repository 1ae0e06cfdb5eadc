"""The query string of `/api/v0/logs/{media_type}`, checked as live checks it (Ray: `GetLogOptions` of `ray.util.state.common`)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import QueryParams

DEFAULT_LINES = 1000
DEFAULT_DOWNLOAD_FILENAME = "file.txt"
_MEDIA_TYPES = ("file", "stream")
_SUFFIXES = ("out", "err")


class BadOptions(ValueError):
    """A request that names no log, or names it wrongly. The message says what is wrong."""


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
    if media_type not in _MEDIA_TYPES:
        raise BadOptions(f"{media_type!r} is no kind of log: ask for {' or '.join(_MEDIA_TYPES)}")
    interval = query.get("interval")
    if interval is not None and media_type == "file":
        raise BadOptions("interval belongs to a stream, not to a file")
    if interval is not None and not _is_number(interval):
        raise BadOptions(f"interval={interval!r} is no number of seconds")
    whole_number("timeout", query.get("timeout", "30"))
    options = LogOptions(
        node_id=query.get("node_id"),
        node_ip=query.get("node_ip"),
        filename=query.get("filename"),
        download_filename=query.get("download_filename", DEFAULT_DOWNLOAD_FILENAME),
        actor_id=query.get("actor_id"),
        task_id=query.get("task_id"),
        attempt_number=whole_number("attempt_number", query.get("attempt_number", "0")),
        pid=None if (pid := query.get("pid")) is None else whole_number("pid", pid),
        submission_id=query.get("submission_id"),
        # Live's agent takes 0 for "not given".
        lines=whole_number("lines", query.get("lines", str(DEFAULT_LINES))) or DEFAULT_LINES,
        suffix=query.get("suffix", "out"),
        filter_ansi_code=query.get("filter_ansi_code", "").lower() == "true",
    )
    by_entity = options.actor_id or options.task_id or options.submission_id
    if options.node_id and options.node_ip:
        raise BadOptions("node_id and node_ip are both given: give one of them")
    if not (options.node_id or options.node_ip or by_entity):
        raise BadOptions("which node? Give node_id or node_ip, or one of task_id, actor_id and submission_id")
    if not (by_entity or options.pid or options.filename):
        raise BadOptions("which log? Give one of filename, task_id, actor_id, pid and submission_id")
    if options.suffix not in _SUFFIXES:
        raise BadOptions(f"suffix={options.suffix!r} is none of {', '.join(_SUFFIXES)}")
    return options


def whole_number(name: str, text: str) -> int:
    """Raises BadOptions."""
    try:
        return int(text)
    except ValueError:
        raise BadOptions(f"{name}={text[:80]!r} is no whole number") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
