"""What describes a cluster as a whole: Ray's version, the head's clock, and the autoscaler's last report, which live shows as its status.

Version and clock come from stored answers or else from the GCS's log, the report from `monitor.log`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.ray.proto_json import utc_offset
from shared.sessions import Session
from workers.bad_data import BAD_DATA
from workers.entities.fields import decoded_object, part, text
from workers.entities.nodes import Node
from workers.log_pieces import LogPieces

# What live says until the autoscaler has reported (Ray: `autoscaler/_private/commands.debug_status`).
NO_STATUS = "No cluster status. It may take a few seconds for the Ray internal services to start up."
_TAIL_BYTES = 256 << 10
_REPORT = re.compile(
    r"^(=+ Autoscaler status: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? =+\n.*?)(?=^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\t|\Z)",
    re.DOTALL | re.MULTILINE,
)
# Nodes that ended so shortly before the last report went with the whole cluster.
_TEARDOWN_MS = 120_000


def cluster_status(logs: LogPieces, nodes: Iterable[Node], offset: timedelta) -> str:
    """The last report, or the last one before the cluster was taken down. `offset` is that of the head's clock from UTC."""
    reports = [
        (ms, match[1].rstrip("\n"))
        for text in logs.tails(logs.named("monitor.log"), _TAIL_BYTES).values()
        for match in _REPORT.finditer(text)
        if (ms := _ms(match[2], offset)) is not None
    ]
    if not reports:
        return NO_STATUS
    reports.sort(key=lambda report: report[0])
    end = taken_down(nodes, reports[-1][0])
    before = [text for ms, text in reports if end is None or ms < end]
    return before[-1] if before else reports[0][1]


def taken_down(nodes: Iterable[Node], last_report: int) -> int | None:
    """When (ms) the cluster began to be taken down: every worker node ended as expected, the last ones within minutes of the last report.

    None when a worker node outlived the reports, as it does when pods are deleted at once.
    """
    workers = [node for node in nodes if not node.is_head]
    if not workers or any(node.state != "DEAD" for node in workers):
        return None
    ended = [node.end for node in workers if node.expected_end and node.end > last_report - _TEARDOWN_MS]
    return min(ended, default=None)


def _ms(local: str, offset: timedelta) -> int | None:
    try:
        moment = datetime.strptime(local, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - offset
    except (ValueError, OverflowError):
        return None
    return int(moment.timestamp() * 1000)


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
    endpoints: dict[str, bytes], sibling_metadata: bytes | None, logs: LogPieces, nodes: Iterable[Node], session: Session
) -> ClusterFacts:
    """`sibling_metadata` is the `cluster_metadata` of another session of the same cluster; it counts only for the same Ray version."""
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
        metadata = _metadata(version, part(_object(sibling_metadata), "data"))
    timezone = _object(endpoints.get("/timezone"))
    offset = utc_offset(text(timezone, "offset"))
    if offset is None:
        offset = _head_offset(gcs_log, nodes, session)
        timezone = _timezone(offset)
    return ClusterFacts(version or None, commit or None, offset, metadata, timezone)


def _metadata(version: str, sibling: dict[str, Any]) -> dict[str, Any]:
    if text(sibling, "rayVersion") != version:
        sibling = {}
    data = {
        "rayVersion": version or None,
        "pythonVersion": text(sibling, "pythonVersion") or None,
        "rayInitCluster": bool(sibling.get("rayInitCluster")),
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
