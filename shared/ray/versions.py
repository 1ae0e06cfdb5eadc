"""What differs between versions of Ray, in one table. A session's own version decides; where its data shows the same, the data does.

Checked against the wheels of 2.57, 2.59 and 2.60 (event protos, `util/state/common.py`) and recorded sessions of 2.54, 2.55 and 2.60.
Between 2.59 and 2.60 no event proto differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Release = tuple[int, int]
# The newest release whose events were looked at.
NEWEST: Release = (2, 60)
# Without it a cluster exports nothing that a collector could store.
OLDEST_WITH_EVENTS: Release = (2, 51)
_RELEASE = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that holds from a release on. `source`: where in Ray, or how it was seen."""

    since: Release
    what: str
    source: str

    def in_ray(self, version: str | None) -> bool:
        """Does it hold in this version? An unknown one is taken for a new one."""
        release = release_of(version)
        return release is None or release >= self.since


HOST_NAMES = Change((2, 54), "nodes are exported with host and node names, actors with their repr names", "events of 2.53 and 2.54")
ALL_TYPES = Change(
    (2, 54),
    "`RAY_DASHBOARD_AGGREGATOR_AGENT_EXPOSABLE_EVENT_TYPES=ALL` is understood",
    "`aggregator_agent.py`; 2.53 exports nothing with it",
)
ALL_SPANS = Change((2, 55), "every profile span is exported, not one a flush", "`task_event_buffer.cc`; sessions of 2.54 and 2.55")
NODE_DIRECTORIES = Change((2, 55), "live shows nodes' temporary and session directories", "sessions of 2.54 and 2.55")
ACTOR_PROCESSES = Change((2, 55), "actors are exported with pid and port; before, raylets' logs tell", "sessions of 2.54 and 2.55")
EXECUTORS_NODE = Change((2, 55), "a lifecycle event names the node that runs the task, not the sender's", "sessions of 2.54 and 2.55")
LOG_INFO = Change((2, 55), "`taskLogInfo` is exported; up to 2.57 a flush keeps only the last of its updates", "sessions of 2.54 and 2.55")
SUMMARY_BY_NAME = Change(
    (2, 57), "summaries group tasks by name, not by function", "`TaskSummaries.to_summary_by_func_name` in `util/state/common.py`"
)
WHOLE_LOG_INFO = Change(
    (2, 58), '`taskLogInfo` tells unknown fields from 0 and ""', "`events_task_lifecycle_event.proto`: its fields became optional"
)
WORKER_EVENTS = Change((2, 58), "WORKER_* events are exported", "`events_base_event.proto`: types 16 and 17")
REDACTED_FOR_BROWSERS = Change(
    (2, 59),
    "browsers get runtime environments without values; this server redacts them for every version",
    "`dashboard/runtime_env_redaction.py`",
)
CHANGES = (
    HOST_NAMES,
    ALL_TYPES,
    ALL_SPANS,
    NODE_DIRECTORIES,
    ACTOR_PROCESSES,
    EXECUTORS_NODE,
    LOG_INFO,
    SUMMARY_BY_NAME,
    WHOLE_LOG_INFO,
    WORKER_EVENTS,
    REDACTED_FOR_BROWSERS,
)


def release_of(version: str | None) -> Release | None:
    """`2.55.1` is (2, 55); None for what is no version (`3.0.0.dev0` is (3, 0))."""
    match = _RELEASE.match(version or "")
    return (int(match[1]), int(match[2])) if match else None


def shown(release: Release) -> str:
    return ".".join(map(str, release))
