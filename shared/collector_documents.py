"""What our collector writes beside events and logs: while its cluster runs, where that is; and what it had to drop.

An announcement (`cluster-live/{ns}_{cluster}.json`, by the head's collector) is for clusters that no Kubernetes knows. It is believed only
when a setting says so: the history server goes to the address that is written there.
A report (`{session}/{node}/collector.json`, by each node's) is read by a load: what was dropped makes the session partial. KubeRay's
readers pass it over.
"""

from __future__ import annotations

import msgspec

ANNOUNCED_PREFIX = "cluster-live/"
HEARTBEAT = 15.0
"""Seconds from one to the next."""


class Announcement(msgspec.Struct):
    """`heartbeat`: when it was written, in seconds since 1970. `dashboard`: base URL as the history server reaches it."""

    namespace: str
    cluster: str
    session: str
    dashboard: str
    heartbeat: float
    owner_kind: str | None = None
    owner_name: str | None = None


_decode = msgspec.json.Decoder(Announcement).decode


def announcement_key(namespace: str, cluster: str) -> str:
    return f"{ANNOUNCED_PREFIX}{namespace}_{cluster}.json"


def decode_announcement(content: bytes) -> Announcement:
    """Raises ValueError for what is none."""
    return _decode(content)


REPORT_NAME = "collector.json"
REPORT_VERSION = 1


class Loss(msgspec.Struct):
    """`file`: a log or event file below the node's folder, or empty; `count`: how often it happened."""

    file: str
    code: str
    message: str
    count: int = 1


class Report(msgspec.Struct):
    """Times are RFC 3339, UTC. `ended`: when everything else of this node and session had been uploaded; null until then.

    `temp_dir`: Ray's temporary directory, as the node's own processes name it; empty when the collector did not see it.
    """

    version: int
    node: str
    session: str
    role: str
    began: str
    ended: str | None = None
    losses: list[Loss] = msgspec.field(default_factory=list)
    losses_left_out: int = 0
    temp_dir: str = ""


_decode_report = msgspec.json.Decoder(Report).decode


def decode_report(content: bytes) -> Report:
    """Raises ValueError for what is no report."""
    return _decode_report(content)
