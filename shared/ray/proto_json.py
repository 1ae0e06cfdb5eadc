"""Values as Ray's protobuf messages have them in JSON: ids, times and enums, and keys as live's JSON shows them."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
# Byte lengths of ids: job 4, actor 16, placement group 18, task 24, object/node/worker 28.
_LENGTHS = (4, 16, 18, 24, 28)


def to_hex(text: str) -> str:
    """Lower-case hex of an id; "" stays "". Raises ValueError if it is neither base64 nor hex."""
    if _HEX.fullmatch(text) and len(text) // 2 in _LENGTHS:
        return text.lower()
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True).hex()
    except ValueError as exc:  # binascii.Error, and text that is not ASCII
        raise ValueError(f"{text[:100]!r} is no id: neither base64 nor hex") from exc


def id_or_none(hex_id: str) -> str | None:
    """None for no id, and for Ray's nil id, which is all ones."""
    return hex_id if hex_id.strip("f") else None


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_LAST = 1 << 63


def ns(timestamp: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError for other text, and for times that no clock of a cluster shows (before 1970,
    beyond the year 2262, where a signed 64-bit count of ns ends).
    """
    match = _RFC3339.fullmatch(timestamp)
    if not match:
        raise ValueError(f"{timestamp[:100]!r} is no RFC 3339 time")
    moment, fraction, zone = match.groups()
    found = _seconds(moment, zone) * 10**9 + int((fraction or "").ljust(9, "0"))
    if not 0 <= found < _LAST:
        raise ValueError(f"{timestamp!r} is out of range")
    return found


# Thousands of events come in one second.
@lru_cache(1 << 12)
def _seconds(moment: str, zone: str) -> int:
    return int(datetime.fromisoformat(moment.upper() + ("+00:00" if zone in "Zz" else zone)).timestamp())


def utc_offset(shown: str) -> timedelta | None:
    """Of `+09:00`; None for any other text."""
    match = _OFFSET.fullmatch(shown)
    if not match:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset


# Also the order of a task's `events`, and the highest one is its state.
TASK_STATES = (
    "NIL",
    "PENDING_ARGS_AVAIL",
    "PENDING_NODE_ASSIGNMENT",
    "PENDING_OBJ_STORE_MEM_AVAIL",
    "PENDING_ARGS_FETCH",
    "SUBMITTED_TO_WORKER",
    "PENDING_ACTOR_TASK_ARGS_FETCH",
    "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY",
    "RUNNING",
    "RUNNING_IN_RAY_GET",
    "RUNNING_IN_RAY_WAIT",
    "FINISHED",
    "FAILED",
    "GETTING_AND_PINNING_ARGS",
)
RANK = {state: rank for rank, state in enumerate(TASK_STATES)}
TASK_TYPES = ("NORMAL_TASK", "ACTOR_CREATION_TASK", "ACTOR_TASK", "DRIVER_TASK")
LANGUAGES = ("PYTHON", "JAVA", "CPP")
# "": a number that Ray gave up.
ERROR_TYPES = (
    "WORKER_DIED", "ACTOR_DIED", "", "TASK_EXECUTION_EXCEPTION", "OBJECT_IN_PLASMA", "TASK_CANCELLED", "ACTOR_CREATION_FAILED",
    "RUNTIME_ENV_SETUP_FAILED", "OBJECT_LOST", "OWNER_DIED", "OBJECT_DELETED", "DEPENDENCY_RESOLUTION_FAILED",
    "OBJECT_UNRECONSTRUCTABLE_MAX_ATTEMPTS_EXCEEDED", "OBJECT_UNRECONSTRUCTABLE_LINEAGE_EVICTED", "OBJECT_FETCH_TIMED_OUT",
    "LOCAL_RAYLET_DIED", "TASK_PLACEMENT_GROUP_REMOVED", "ACTOR_PLACEMENT_GROUP_REMOVED", "TASK_UNSCHEDULABLE_ERROR",
    "ACTOR_UNSCHEDULABLE_ERROR", "OUT_OF_DISK_ERROR", "OBJECT_FREED", "OUT_OF_MEMORY", "NODE_DIED", "END_OF_STREAMING_GENERATOR",
    "ACTOR_UNAVAILABLE", "GENERATOR_TASK_FAILED_FOR_OBJECT_RECONSTRUCTION", "OBJECT_UNRECONSTRUCTABLE_PUT",
    "OBJECT_UNRECONSTRUCTABLE_RETRIES_DISABLED", "OBJECT_UNRECONSTRUCTABLE_BORROWED", "OBJECT_UNRECONSTRUCTABLE_REF_NOT_FOUND",
    "OBJECT_UNRECONSTRUCTABLE_TASK_CANCELLED", "OBJECT_UNRECONSTRUCTABLE_LINEAGE_DISABLED", "WORKER_STARTUP_FAILED",
    "STREAMING_GENERATOR_REPLAY_INCONSISTENT",
)  # fmt: skip
EVENT_TYPES = (
    "", "TASK_DEFINITION_EVENT", "TASK_LIFECYCLE_EVENT", "ACTOR_TASK_DEFINITION_EVENT", "TASK_PROFILE_EVENT",
    "DRIVER_JOB_DEFINITION_EVENT", "DRIVER_JOB_LIFECYCLE_EVENT", "NODE_DEFINITION_EVENT", "NODE_LIFECYCLE_EVENT",
    "ACTOR_DEFINITION_EVENT", "ACTOR_LIFECYCLE_EVENT", "PLACEMENT_GROUP_DEFINITION_EVENT", "PLACEMENT_GROUP_LIFECYCLE_EVENT",
    "SUBMISSION_JOB_DEFINITION_EVENT", "SUBMISSION_JOB_LIFECYCLE_EVENT", "PLATFORM_EVENT", "WORKER_LIFECYCLE_EVENT",
    "WORKER_DEFINITION_EVENT",
)  # fmt: skip


def google_style(value: Any) -> Any:
    """The same JSON tree with every key converted, keys that are data included, as live does it."""
    if isinstance(value, list):
        return [google_style(item) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict):
        return {_camel(key): google_style(item) for key, item in value.items()}
    return value


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(word.title() for word in others) if others else key
