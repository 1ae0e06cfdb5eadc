"""What the merge of tasks must know from outside: dead workers and finished jobs, and what older versions of Ray did otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field

# proto WorkerExitType
EXIT_TYPES = ("SYSTEM_ERROR", "INTENDED_SYSTEM_EXIT", "USER_ERROR", "INTENDED_USER_EXIT", "NODE_OUT_OF_MEMORY")


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """`exit_type` is the number of Ray's WorkerExitType."""

    end_ms: int
    exit_type: int
    exit_detail: str


@dataclass(frozen=True, slots=True)
class OldRay:
    """For sessions of Ray before 2.58 (`shared.ray.versions`). Ids in hex.

    `by_function`: summaries count by function. `senders_node`: every event names its sender's node; then `worker_nodes` has the nodes of
    workers. `log_info`: events say which attempts have log lines, if not all about them. `log_directory`: where the session's logs were,
    and `prestarted`: workers whose files there name no job. `log_starts`: by "{task id}/{attempt}" where the lines of stdout and stderr
    begin, without the marker of the task; -1 = unknown.
    """

    by_function: bool = False
    senders_node: bool = False
    worker_nodes: dict[str, str] = field(default_factory=dict)
    log_info: bool = True
    log_directory: str = ""
    prestarted: frozenset[str] = frozenset()
    log_starts: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskEnds:
    """Deaths by worker id, job ends (ns) by job id; ids in hex. `old`: None for Ray from 2.58 on."""

    deaths: dict[str, WorkerDeath] = field(default_factory=dict)
    job_ends: dict[str, int] = field(default_factory=dict)
    old: OldRay | None = None
