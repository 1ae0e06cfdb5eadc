"""What a session, or one of its jobs, comes down to: a document of the snapshot, made at load and bounded whatever the session holds.

Times are in ms since the epoch, durations in ms; None: not known. Lists hold the first of their order; `..._more` says how many follow.
The driver's own task is left out everywhere, as in Ray's summaries.
"""

from __future__ import annotations

import msgspec

SESSION_OVERVIEW = "session/overview"


def job_overview(job_id: str) -> str:
    """The document of one job; it has what tasks tell, and nothing of nodes, actors and other jobs."""
    return f"session/overview/{job_id}"


class Spread(msgspec.Struct):
    """Of many durations. Quantiles are by nearest rank, to three digits; `max_ms` and `total_ms` are exact."""

    count: int
    total_ms: int
    p50_ms: int
    p95_ms: int
    max_ms: int


class FunctionRow(msgspec.Struct):
    """Attempts of the tasks of one name. `running`: from start to end; `waiting`: from submission to start; each of those that did."""

    name: str
    type: str
    attempts: int
    failed: int
    retries: int
    running: Spread | None
    waiting: Spread | None


class TaskRef(msgspec.Struct):
    """One attempt."""

    task_id: str
    attempt_number: int
    name: str
    job_id: str
    node_id: str | None
    creation_time_ms: int | None
    start_time_ms: int | None
    end_time_ms: int | None


class Count(msgspec.Struct):
    """How many of something that has a name or an id."""

    name: str
    count: int


class FailureGroup(msgspec.Struct):
    """Failed attempts of one error type whose messages differ in ids and numbers at most. `message` is the line that they share.

    `example` is the first of them, `example_message` what it says, with its middle cut out if it is long.
    """

    error_type: str
    message: str
    count: int
    first_ms: int | None
    last_ms: int | None
    functions: list[Count]
    functions_more: int
    nodes: list[Count]
    nodes_more: int
    example: TaskRef | None
    example_message: str


class Series(msgspec.Struct):
    """At the end of each of `len(waiting)` spans of `step_ms` from `start_ms` on: how many attempts wait, run, and have ended so far."""

    start_ms: int
    step_ms: int
    waiting: list[int]
    running: list[int]
    finished: list[int]
    failed: list[int]
    nodes: list[int]


class NodeRow(msgspec.Struct):
    """`failed`: attempts that failed on it, by error type."""

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    state_message: str | None
    start_time_ms: int | None
    end_time_ms: int | None
    failed: list[Count]


class ActorRow(msgspec.Struct):
    """An actor that was restarted."""

    actor_id: str
    class_name: str
    name: str
    state: str
    job_id: str
    restarts: int


class ActorDeaths(msgspec.Struct):
    """Actors that died of one cause. `example`: the id of one of them."""

    cause: str
    count: int
    classes: list[Count]
    classes_more: int
    example: str


class JobRow(msgspec.Struct):
    """A job; `tasks`: attempts by state, its driver's left out. `error`: of a failed one, in a line."""

    id: str
    job_id: str
    submission_id: str
    status: str
    entrypoint: str
    error: str
    start_time_ms: int | None
    end_time_ms: int | None
    tasks: dict[str, int]


class TaskFacts(msgspec.Struct):
    """What tasks tell: of a session, or of one job. `states` counts attempts, `retries` those that were not a task's first."""

    states: dict[str, int] = {}
    retries: int = 0
    functions: list[FunctionRow] = []
    functions_more: int = 0
    failures: list[FailureGroup] = []
    failures_more: int = 0


class Overview(TaskFacts):
    """The same of a whole session, with what else there is to tell."""

    series: Series | None = None
    slowest: list[TaskRef] = []
    longest_waits: list[TaskRef] = []
    jobs: list[JobRow] = []
    jobs_more: int = 0
    nodes: list[NodeRow] = []
    nodes_more: int = 0
    actors: int = 0
    actor_deaths: list[ActorDeaths] = []
    actor_deaths_more: int = 0
    restarted: list[ActorRow] = []
    restarted_more: int = 0
