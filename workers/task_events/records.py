"""What is left of a task event once it is read: only what rows need, checked, ids in lower-case hex.

Records travel from the parsing of files to the merging of ranges as msgpack arrays, alike in both engines.
"""

from __future__ import annotations

import msgspec


class LogInfo(msgspec.Struct, array_like=True, gc=False):
    """`taskLogInfo`: files and byte offsets; None where the event does not say."""

    stdout_file: str | None = None
    stderr_file: str | None = None
    stdout_start: int | None = None
    stdout_end: int | None = None
    stderr_start: int | None = None
    stderr_end: int | None = None


class ErrorInfo(msgspec.Struct, array_like=True, gc=False):
    """`rayErrorInfo`"""

    type: str
    message: str


class Definition(msgspec.Struct, array_like=True, gc=False):
    """`taskDefinitionEvent` or `actorTaskDefinitionEvent`. `function` is Ray's call string; the last three are JSON text."""

    type: str
    name: str
    function: str
    job_id: str
    actor_id: str
    parent_task_id: str
    placement_group_id: str
    language: str
    runtime_env: str
    call_site: str | None
    resources: str
    label_selector: str
    fallback_strategy: str


class Lifecycle(msgspec.Struct, array_like=True, gc=False):
    """`taskLifecycleEvent`. `states`: (state, ms since the epoch, None when neither it nor its event tells)."""

    states: list[tuple[str, int | None]]
    node_id: str
    worker_id: str
    worker_pid: int
    error: ErrorInfo | None
    logs: LogInfo | None
    repr_name: str
    debugger_paused: bool | None


class Span(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One profiled span: ns since the epoch; `extra` is JSON text."""

    start: int
    end: int
    extra: str
    name: str


class Profile(msgspec.Struct, array_like=True, gc=False):
    """`profileEvents` of `taskProfileEvents`"""

    component_type: str
    component_id: str
    node_ip: str
    spans: list[Span]


class TaskRecord(msgspec.Struct, array_like=True, gc=False):
    """One event of one attempt: when it was recorded (ns, 0 if unknown), and one of three parts."""

    ns: int
    attempt: int
    definition: Definition | None = None
    lifecycle: Lifecycle | None = None
    profile: Profile | None = None


# One range of a chunk of text: records with their tasks' ids.
Records = list[tuple[str, bytes]]
encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(TaskRecord).decode
encode_records = msgspec.msgpack.Encoder().encode
decode_records = msgspec.msgpack.Decoder(Records).decode


class Attempt(msgspec.Struct, gc=False):
    """One attempt of one task. `states` maps a state to ms since the epoch; `profile` says whose `spans` are."""

    task_id: str
    number: int
    definition: Definition | None = None
    states: dict[str, int | None] = {}
    node_id: str = ""
    worker_id: str = ""
    worker_pid: int = 0
    error: ErrorInfo | None = None
    logs: LogInfo | None = None
    repr_name: str = ""
    debugger_paused: bool | None = None
    profile: Profile | None = None
    spans: list[Span] = []
    node_rank: int = 0
