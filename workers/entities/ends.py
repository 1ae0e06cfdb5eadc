"""What ends task attempts from outside: dead workers and finished jobs."""

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
class TaskEnds:
    """Deaths by worker id, job ends (ns) by job id; ids in hex."""

    deaths: dict[str, WorkerDeath] = field(default_factory=dict)
    job_ends: dict[str, int] = field(default_factory=dict)
