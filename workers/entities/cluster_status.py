"""The autoscaler's report, which live shows as the cluster's status: the one that it last wrote to `monitor.log`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

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
