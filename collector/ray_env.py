"""The environment in which Ray sends its events to a collector. It must be there before `ray start`, on every node.

Read from Ray 2.53, 2.55 and 2.60 (`dashboard/modules/aggregator`), and from what KubeRay's operator injects.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from shared.errors import SettingsError

OLDEST = (2, 51)
"""TASK_LIFECYCLE_EVENT begins here."""
_KNOWS_ALL = (2, 54)
# Lists of types may name some that a version does not know; before 2.54 `ALL` is such a name, and nothing comes.
_TYPES = (
    "TASK_DEFINITION_EVENT",
    "TASK_LIFECYCLE_EVENT",
    "TASK_PROFILE_EVENT",
    "ACTOR_TASK_DEFINITION_EVENT",
    "ACTOR_DEFINITION_EVENT",
    "ACTOR_LIFECYCLE_EVENT",
    "DRIVER_JOB_DEFINITION_EVENT",
    "DRIVER_JOB_LIFECYCLE_EVENT",
    "NODE_DEFINITION_EVENT",
    "NODE_LIFECYCLE_EVENT",
    "WORKER_DEFINITION_EVENT",
    "WORKER_LIFECYCLE_EVENT",
    "PLACEMENT_GROUP_DEFINITION_EVENT",
    "PLACEMENT_GROUP_LIFECYCLE_EVENT",
    "SUBMISSION_JOB_DEFINITION_EVENT",
    "SUBMISSION_JOB_LIFECYCLE_EVENT",
    "PLATFORM_EVENT",
)
ENABLE = "RAY_enable_ray_event"
ENABLE_WORKERS = "RAY_enable_core_worker_ray_event_to_aggregator"
ADDRESS = "RAY_DASHBOARD_AGGREGATOR_AGENT_EVENTS_EXPORT_ADDR"
TYPES = "RAY_DASHBOARD_AGGREGATOR_AGENT_EXPOSABLE_EVENT_TYPES"
# Its name in some versions around 2.54; KubeRay sets both.
_TYPES_TOO = "RAY_DASHBOARD_AGGREGATOR_AGENT_PUBLISHER_HTTP_ENDPOINT_EXPOSABLE_EVENT_TYPES"

Version = tuple[int, int]


def parse_version(text: str) -> Version:
    """(major, minor) of `2.60.0` and the like. Raises SettingsError."""
    match = re.match(r"(\d+)\.(\d+)", text.strip())
    if not match:
        raise SettingsError(f"{text!r} is no version of Ray")
    return int(match[1]), int(match[2])


def ray_environment(version: Version | None, address: str) -> dict[str, str]:
    """For a version of Ray, or for any that exports events when it is not known. Raises SettingsError for one that exports none."""
    if version is not None and version < OLDEST:
        raise SettingsError(f"Ray {version[0]}.{version[1]} does not export what a history needs: 2.51 or newer does")
    types = "ALL" if version is not None and version >= _KNOWS_ALL else ",".join(_TYPES)
    return {ENABLE: "true", ENABLE_WORKERS: "true", ADDRESS: address, TYPES: types, _TYPES_TOO: types}


def knows_all(version: Version) -> bool:
    """Is `ALL` understood as a list of event types?"""
    return version >= _KNOWS_ALL


def as_shell(environment: Mapping[str, str]) -> str:
    """For `eval`, a Slurm script or a file that is sourced."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def as_systemd(environment: Mapping[str, str]) -> str:
    """Lines of a unit's [Service] section."""
    return "".join(f'Environment="{name}={value}"\n' for name, value in environment.items())


def as_yaml(environment: Mapping[str, str]) -> str:
    """The `env` of the Ray containers of a RayCluster."""
    return "env:\n" + "".join(f'- name: {name}\n  value: "{value}"\n' for name, value in environment.items())


def as_dotenv(environment: Mapping[str, str]) -> str:
    """For `docker run --env-file`."""
    return "".join(f"{name}={value}\n" for name, value in environment.items())
