"""What describes a cluster as a whole: Ray's version, and the head's clock, from stored answers or else from the GCS's log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.ray.times import utc_offset
from shared.sessions import Session
from workers.bad_data import BAD_DATA
from workers.entities.fields import decoded_object, part, text
from workers.entities.nodes import Node
from workers.log_pieces import LogPieces

_HEAD_BYTES = 16 << 10
_VERSION = re.compile(r"\bray_version=(\S+)(?: ray_commit=([0-9a-f]+))?")
# The first line that a GCS writes; a log without it was rotated, and begins at any time.
_FIRST_LINE = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),.*\bray_version=", re.MULTILINE)
_QUARTER, _LARGEST_OFFSET = timedelta(minutes=15), timedelta(hours=14)
# The zone that live names for an offset (Ray: `dashboard/timezone_utils.py`).
_ZONES = {
    "-12:00": "Etc/+12",
    "-11:00": "Pacific/Pago_Pago",
    "-10:00": "Pacific/Honolulu",
    "-09:00": "America/Anchorage",
    "-08:00": "America/Los_Angeles",
    "-07:00": "America/Phoenix",
    "-06:00": "America/Guatemala",
    "-05:00": "America/Bogota",
    "-04:00": "America/Halifax",
    "-03:30": "America/St_Johns",
    "-03:00": "America/Sao_Paulo",
    "-02:00": "America/Godthab",
    "-01:00": "Atlantic/Azores",
    "+00:00": "Europe/London",
    "+01:00": "Europe/Amsterdam",
    "+02:00": "Asia/Amman",
    "+03:00": "Asia/Baghdad",
    "+03:30": "Asia/Tehran",
    "+04:00": "Asia/Dubai",
    "+04:30": "Asia/Kabul",
    "+05:00": "Asia/Karachi",
    "+05:30": "Asia/Kolkata",
    "+05:45": "Asia/Kathmandu",
    "+06:00": "Asia/Almaty",
    "+06:30": "Asia/Yangon",
    "+07:00": "Asia/Bangkok",
    "+08:00": "Asia/Shanghai",
    "+09:00": "Asia/Irkutsk",
    "+09:30": "Australia/Adelaide",
    "+10:00": "Australia/Brisbane",
    "+11:00": "Asia/Magadan",
    "+12:00": "Pacific/Auckland",
    "+13:00": "Pacific/Tongatapu",
}


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """`offset` is that of the head's clock from UTC. The documents are whole answers."""

    ray_version: str | None
    ray_commit: str | None
    offset: timedelta
    metadata: dict[str, Any]
    timezone: dict[str, Any]


NO_FACTS = ClusterFacts(None, None, timedelta(), {}, {})


def cluster_facts(
    endpoints: dict[str, bytes], nearby_metadata: bytes | None, logs: LogPieces, nodes: Iterable[Node], session: Session
) -> ClusterFacts:
    """`nearby_metadata` is the `cluster_metadata` of another session of the same cluster; it counts only for the same Ray version."""
    gcs_log = "\n".join(logs.heads(logs.rotated("gcs_server.out"), _HEAD_BYTES).values())
    logged = _VERSION.search(gcs_log)
    metadata = _object(endpoints.get("/api/v0/cluster_metadata"))
    version = (
        text(part(metadata, "data"), "rayVersion")
        or text(_object(endpoints.get("/api/version")), "ray_version")
        or (logged[1] if logged else "")
    )
    commit = text(_object(endpoints.get("/api/version")), "ray_commit") or (logged[2] if logged else "")
    if not metadata:
        metadata = _metadata(version, part(_object(nearby_metadata), "data"))
    timezone = _object(endpoints.get("/timezone"))
    offset = utc_offset(text(timezone, "offset"))
    if offset is None:
        offset = _head_offset(gcs_log, nodes, session)
        timezone = _timezone(offset)
    return ClusterFacts(version or None, commit or None, offset, metadata, timezone)


def _metadata(version: str, nearby: dict[str, Any]) -> dict[str, Any]:
    if text(nearby, "rayVersion") != version:
        nearby = {}
    data = {
        "rayVersion": version or None,
        "pythonVersion": text(nearby, "pythonVersion") or None,
        "rayInitCluster": bool(nearby.get("rayInitCluster")),
    }
    return {"result": True, "msg": "", "data": data}


def _head_offset(gcs_log: str, nodes: Iterable[Node], session: Session) -> timedelta:
    """The GCS writes its log on the head's clock, and Ray names the session by it. The head registers minutes later at most: an event in
    UTC.
    """
    first = _FIRST_LINE.search(gcs_log)
    start = min((node.start for node in nodes if node.is_head and node.start), default=0)
    if not start:
        return timedelta()
    local = session.created
    if first is not None:
        with suppress(ValueError):
            local = datetime.strptime(first[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    offset = round((local - datetime.fromtimestamp(start / 1000, UTC)) / _QUARTER) * _QUARTER
    return offset if abs(offset) <= _LARGEST_OFFSET else timedelta()


def _timezone(offset: timedelta) -> dict[str, Any]:
    minutes = int(offset.total_seconds()) // 60
    shown = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    zone = _ZONES.get(shown)
    return {"offset": shown if zone else None, "value": zone}


def _object(body: bytes | None) -> dict[str, Any]:
    """A stored answer; {} for none and for what is no JSON object."""
    try:
        return decoded_object(body)
    except BAD_DATA:
        return {}
