"""What the GCS's log knows and no event says: how workers crashed, and which nodes were asked to run an actor.

Lines of `gcs_server.out`:
- Reporting worker exit, worker id = {id}, .. exit_detail = {detail}. Unintentional worker failures ..
- Leasing worker for actor. actor_id={id} .. node_id={id}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from workers.log_pieces import LogPieces

# How lines of Ray's C++ processes begin.
TIME = r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) "
_WANTED = re.compile(rb"Reporting worker exit, worker id = |Leasing worker for actor\. actor_id=")
_CRASHED = re.compile(r"Reporting worker exit, worker id = ([0-9a-f]{56}),.* exit_detail = (.*?)\.? Unintentional worker failures")
_LEASING = re.compile(TIME + r".*Leasing worker for actor\. actor_id=([0-9a-f]{32})\b.* node_id=([0-9a-f]{56})")


@dataclass(frozen=True, slots=True)
class GcsLog:
    """`crashes`: details by worker id. `leases`: by actor id the nodes that were asked for a worker, and when (ms), in order."""

    crashes: dict[str, str] = field(default_factory=dict)
    leases: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


def read_gcs_log(logs: LogPieces, offset: timedelta) -> GcsLog:
    """`offset` is that of the head's clock from UTC."""
    found = GcsLog()
    for key in logs.rotated("gcs_server.out"):
        for line in logs.lines(key, _WANTED):
            if match := _CRASHED.search(line):
                found.crashes[match[1]] = match[2]
            elif match := _LEASING.search(line):
                found.leases.setdefault(match[2], []).append((ms_of(match[1], offset), match[3]))
    return found


def ms_of(local: str, offset: timedelta) -> int:
    """The time of a line of a log that was written on a clock so far from UTC, in ms since the epoch."""
    moment = datetime.strptime(local, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC) - offset
    return round(moment.timestamp() * 1000)
