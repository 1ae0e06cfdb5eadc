"""What a load says about what it could not know: about the session's version of Ray, and about events that were never stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.ray import versions
from shared.ray.versions import release_of, shown
from shared.snapshot_format import Warned

_SETTINGS = (
    "RAY_enable_ray_event=1, RAY_enable_core_worker_ray_event_to_aggregator=1, "
    "RAY_DASHBOARD_AGGREGATOR_AGENT_EVENTS_EXPORT_ADDR=<the collector's address> and {types}, on every node before Ray starts"
)
_ALL = "RAY_DASHBOARD_AGGREGATOR_AGENT_EXPOSABLE_EVENT_TYPES=ALL"
_LISTED = (
    "RAY_DASHBOARD_AGGREGATOR_AGENT_EXPOSABLE_EVENT_TYPES=TASK_DEFINITION_EVENT,ACTOR_TASK_DEFINITION_EVENT,TASK_LIFECYCLE_EVENT,"
    "TASK_PROFILE_EVENT,ACTOR_DEFINITION_EVENT,ACTOR_LIFECYCLE_EVENT,NODE_DEFINITION_EVENT,NODE_LIFECYCLE_EVENT,"
    "DRIVER_JOB_DEFINITION_EVENT,DRIVER_JOB_LIFECYCLE_EVENT"
)
# Seen with 2.57 and 2.59 on a machine that was busy when the head began.
_NO_GCS_EVENTS = (
    "No event of the head's GCS was stored, which alone tells of nodes, actors and jobs. It gives up for good when the head's agent does "
    "not answer in its first 30 s; gcs_server.out says then 'Failed to establish connection to the event+metrics exporter agent'. "
    "Give the head more CPU at its start."
)


def session_warnings(version: str | None, *, files: int, event_files: int, rows: Mapping[str, int]) -> list[Warned]:
    """`files` are those beside `event_files`; `rows` counts those of each table."""
    warned = list(_of_events(version, files, event_files, rows))
    if event_files:
        warned += _of_version(version, rows["workers"])
    return warned


def _of_events(version: str | None, files: int, event_files: int, rows: Mapping[str, int]) -> Iterable[Warned]:
    if not files and not event_files:
        yield Warned("no_data", "The session has a marker and nothing else: its collector stored no event, log or answer. " + _how(version))
    elif not event_files:
        yield Warned("no_events", "No event of this session was stored: only its logs and stored answers can be shown. " + _how(version))
    elif rows["jobs"] and not rows["tasks"]:
        yield Warned("no_task_events", "No task event of this session was stored, though it ran jobs. " + _how(version), ["tasks"])
    elif rows["tasks"] and not rows["nodes"]:
        yield Warned("no_gcs_events", _NO_GCS_EVENTS, ["nodes", "actors", "jobs"])


def _how(version: str | None) -> str:
    """Which settings bring events; Ray 2.53 and older do not know `ALL`, and then export nothing."""
    release = release_of(version)
    if release is None:
        before = f"Ray before {shown(versions.ALL_TYPES.since)} does not understand ALL: name the types there"
        return f"Ray exports events with {_SETTINGS.format(types=_ALL)}. {before}."
    if release < versions.OLDEST_WITH_EVENTS:
        return f"Ray {version} cannot export them: use {shown(versions.LOG_INFO.since)} or newer."
    if not versions.ALL_TYPES.in_ray(version):
        return (
            f"Ray {version} does not understand EXPOSABLE_EVENT_TYPES=ALL, and then exports nothing. Set {_SETTINGS.format(types=_LISTED)}."
        )
    return f"Set {_SETTINGS.format(types=_ALL)}."


def _of_version(version: str | None, workers: int) -> Iterable[Warned]:
    release = release_of(version)
    if release is None:
        yield Warned("ray_version_unknown", "No stored answer or log tells this session's version of Ray: it is shown as a new one's.")
        return
    if release > versions.NEWEST:
        newest = f"Ray {version} is newer than what this server was checked with ({shown(versions.NEWEST)})"
        yield Warned("ray_version_unseen", f"{newest}: what it exports besides may be missing.")
    if not versions.ALL_SPANS.in_ray(version):
        yield Warned("no_profile_spans", f"Ray {version} exports few profile events of tasks: timelines have gaps.", ["tasks"], detail=True)
    if not versions.LOG_INFO.in_ray(version):
        yield Warned("no_task_log_info", f"Ray {version} does not export where in its worker's log a task wrote.", ["tasks"], detail=True)
    if not versions.HOST_NAMES.in_ray(version):
        yield Warned("no_host_names", f"Ray {version} exports no names of hosts and nodes.", ["nodes", "actors"])
    if not versions.WORKER_EVENTS.in_ray(version) and not workers:
        told = f"Ray {version} exports no events of workers, and no raylet's log was stored that would tell of them"
        yield Warned("no_worker_events", f"{told}: attempts that a worker's death ended may look unfinished.", ["workers", "tasks"])
