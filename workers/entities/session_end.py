"""When a session began and ended, how, and which nodes left logs: what the bar above the dashboard says, and where its clock stands.

No event says that a cluster is gone, as nobody is left to say it. The end is the last thing that anyone recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.ray.proto_json import ns
from shared.sessions import Session
from workers.entities.fields import text
from workers.entities.nodes import Node
from workers.log_pieces import LogPieces

SESSION_END = "session/end"
NODES_WITH_LOGS = "session/nodes_with_logs"
# The GCS writes at least every minute, until the head is gone. Its events reach a file within seconds, or never.
_GCS_LOG = "gcs_server.out"
_TAIL_BYTES = 16 << 10
_LINE = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ", re.MULTILINE)


def session_documents(
    events: Iterable[dict[str, Any]], nodes: list[Node], logs: LogPieces, offset: timedelta, session: Session
) -> dict[str, Any]:
    """`offset` is that of the head's clock from UTC."""
    start = min((node.start for node in nodes if node.start), default=int(session.created.timestamp() * 1000))
    end = max((ms for event in events if (ms := _event_ms(event))), default=start)
    logged = [ms for tail in logs.tails(logs.named(_GCS_LOG), _TAIL_BYTES).values() for ms in _logged_ms(tail, offset)]
    alive = [node for node in nodes if node.state != "DEAD"]
    workers = [node for node in nodes if not node.is_head]
    known = {node.id: node for node in nodes}
    return {
        SESSION_END: {
            "start_ms": min(start, end),
            "end_ms": max(end, *logged) if logged else end,
            # `ray stop` and the end of a job's own cluster take every node down in order; the head cannot record its own end.
            "in_order": bool(nodes) and (bool(workers) or not alive) and all(node.expected_end for node in workers),
            "nodes_alive": len(alive),
        },
        NODES_WITH_LOGS: [_node_with_logs(node_id, known.get(node_id)) for node_id in sorted({key.partition("/")[0] for key in logs.keys})],
    }


def _node_with_logs(node_id: str, node: Node | None) -> dict[str, Any]:
    """A node that no event tells of has only its directory in the bucket."""
    if node is None:
        return {"node_id": node_id, "ip": "", "hostname": "", "state": "UNKNOWN"}
    return {"node_id": node_id, "ip": node.ip, "hostname": node.hostname, "state": node.state}


def _event_ms(event: dict[str, Any]) -> int:
    try:
        return ns(text(event, "timestamp")) // 10**6
    except ValueError:
        return 0


def _logged_ms(tail: str, offset: timedelta) -> list[int]:
    found = []
    for clock, ms in _LINE.findall(tail)[-1:]:
        try:
            moment = datetime.strptime(clock, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - offset
        except (ValueError, OverflowError):
            continue
        found.append(int(moment.timestamp()) * 1000 + int(ms))
    return found
