"""The columns of the State API's lists: their order, which need `detail`, and which can be filtered.

Mirrors the `*State` dataclasses of Ray 2.60's `ray.util.state.common`; the order is the order of the live answers' keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

ValueType = Literal["str", "int", "float", "bool", "time", "json"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `json` values (objects, arrays) and `time` ones (ms since the epoch; 0, as null, for none) can't be filtered.

    `nullable` columns are declared Optional in Ray, which then does not convert the text of a filter to the column's type.
    `absent` ones are not in live's own row where they have no value (they are shown as null): such a row passes no filter on them.
    """

    name: str
    type: ValueType = "str"
    filterable: bool = True
    detail: bool = False
    nullable: bool = True
    absent: bool = False


@dataclass(frozen=True)
class Resource:
    """One list of the State API. Rows are ordered by `order_by`, which is also their identity."""

    name: str
    order_by: str
    columns: tuple[Column, ...]
    # Filters that live applies at the source, before `total` is counted (state_manager's GCS filters).
    source_filters: frozenset[str] = frozenset()
    # The order without `detail`, where live's differs.
    base_order: tuple[str, ...] = ()
    # Rows show in detail what they have, not these columns: they come from an answer of the session's own Ray.
    as_stored: bool = False

    @cached_property
    def base(self) -> tuple[str, ...]:
        return self.base_order or tuple(column.name for column in self.columns if not column.detail)

    @cached_property
    def all(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def filterable(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns if column.filterable}


def _base(*names: str, nullable: str = "", absent: str = "", **types: ValueType) -> tuple[Column, ...]:
    optional, left_out = nullable.split(), absent.split()
    return tuple(Column(name, types.get(name, "str"), nullable=name in optional, absent=name in left_out) for name in names)


def _detail(*names: str, filterable: str = "", absent: str = "", **types: ValueType) -> tuple[Column, ...]:
    chosen, left_out = filterable.split(), absent.split()
    return tuple(Column(name, types.get(name, "json"), filterable=name in chosen, detail=True, absent=name in left_out) for name in names)


TASKS = Resource(
    "tasks",
    "task_id",
    (
        *_base(
            "task_id", "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name",
            "parent_task_id", "node_id", "worker_id", "worker_pid", "error_type",
            attempt_number="int", worker_pid="int", nullable="worker_pid", absent="error_type",
        ),
        *_detail(
            "language", "required_resources", "runtime_env_info", "placement_group_id", "events", "profiling_data",
            "creation_time_ms", "start_time_ms", "end_time_ms", "task_log_info", "error_message", "is_debugger_paused",
            "call_site", "label_selector", "fallback_strategy",
            filterable="language placement_group_id is_debugger_paused",
            language="str", placement_group_id="str", is_debugger_paused="bool", error_message="str", call_site="str",
            creation_time_ms="time", start_time_ms="time", end_time_ms="time",
        ),
    ),
    source_filters=frozenset({"actor_id", "job_id", "task_id", "name", "state"}),
)  # fmt: skip

ACTORS = Resource(
    "actors",
    "actor_id",
    (
        *_base(
            "actor_id", "class_name", "state", "job_id", "name", "node_id", "pid", "ray_namespace",
            pid="int", nullable="pid", absent="node_id",
        ),
        *_detail(
            "serialized_runtime_env", "required_resources", "death_cause", "is_detached", "placement_group_id", "repr_name",
            "num_restarts", "num_restarts_due_to_lineage_reconstruction", "num_restarts_due_to_node_preemption",
            "call_site", "label_selector", "fallback_strategy",
            filterable="placement_group_id repr_name", absent="placement_group_id", placement_group_id="str", repr_name="str",
            serialized_runtime_env="str", call_site="str", is_detached="bool",
            # Texts in the rows, as in live's.
            num_restarts="int", num_restarts_due_to_lineage_reconstruction="int", num_restarts_due_to_node_preemption="int",
        ),
    ),
    source_filters=frozenset({"actor_id", "job_id", "state"}),
)  # fmt: skip

NODES = Resource(
    "nodes",
    "node_id",
    (
        *_base("node_id", "node_ip", "is_head_node", "state", is_head_node="bool"),
        Column("state_message", filterable=False),
        Column("node_name"),
        Column("resources_total", "json", filterable=False),
        Column("labels", "json", filterable=False),
        *_detail("start_time_ms", "end_time_ms", start_time_ms="time", end_time_ms="time"),
    ),
    source_filters=frozenset({"node_id", "state", "node_name"}),
)

WORKERS = Resource(
    "workers",
    "worker_id",
    (
        *_base(
            "worker_id", "is_alive", "worker_type", "exit_type", "node_id", "ip", "pid",
            is_alive="bool", pid="int", absent="exit_type",
        ),
        *_detail(
            "exit_detail", "worker_launch_time_ms", "worker_launched_time_ms", "start_time_ms", "end_time_ms",
            "debugger_port", "num_paused_threads",
            filterable="debugger_port num_paused_threads", debugger_port="int", num_paused_threads="int", exit_detail="str",
            worker_launch_time_ms="time", worker_launched_time_ms="time", start_time_ms="time", end_time_ms="time",
        ),
    ),
)  # fmt: skip

JOBS = Resource(
    "jobs",
    "job_id",
    (
        Column("type"),
        Column("job_id"),
        Column("submission_id"),
        Column("driver_info", "json", filterable=False),
        Column("status"),
        Column("entrypoint", filterable=False),
        Column("message", filterable=False),
        Column("error_type", filterable=False),
        *_detail(
            "start_time", "end_time", "metadata", "runtime_env", "driver_agent_http_address", "driver_node_id", "driver_exit_code",
            start_time="time", end_time="time", driver_agent_http_address="str", driver_node_id="str", driver_exit_code="int",
        ),
    ),
    base_order=("job_id", "submission_id", "entrypoint", "type", "status", "message", "error_type", "driver_info"),
)  # fmt: skip

PLACEMENT_GROUPS = Resource(
    "placement_groups",
    "placement_group_id",
    (
        *_base("placement_group_id", "name", "creator_job_id", "state"),
        *_detail(
            "bundles", "is_detached", "stats", "topology_strategy", "topology_assignments", filterable="is_detached", is_detached="bool"
        ),
    ),
    as_stored=True,
)

CLUSTER_EVENTS = Resource(
    "cluster_events",
    "event_id",
    (
        Column("severity"),
        Column("time", filterable=False),
        Column("source_type"),
        Column("message", filterable=False),
        Column("event_id"),
        *_detail("custom_fields"),
    ),
)

OBJECTS = Resource(
    "objects",
    "object_id",
    _base(
        "object_id", "object_size", "task_status", "attempt_number", "reference_type", "call_site", "type", "pid", "ip",
        object_size="int", attempt_number="int", pid="int",
    ),
)  # fmt: skip

RUNTIME_ENVS = Resource(
    "runtime_envs",
    "node_id",
    (
        Column("runtime_env", "json"),
        Column("success", "bool", nullable=False),
        Column("creation_time_ms", "float", filterable=False),
        Column("node_id"),
        *_detail("ref_cnt", "error", filterable="error", error="str"),
    ),
)

RESOURCES = {r.name: r for r in (TASKS, ACTORS, NODES, WORKERS, JOBS, PLACEMENT_GROUPS, CLUSTER_EVENTS, OBJECTS, RUNTIME_ENVS)}
