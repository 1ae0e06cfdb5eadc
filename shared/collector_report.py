"""What our collector of one node says of a session, in an object beside the node's events: `{session}/{node}/collector.json`.

The collector writes it, a load reads it: what the collector had to drop makes the session partial. KubeRay's readers pass it over.
"""

from __future__ import annotations

import msgspec

REPORT_NAME = "collector.json"
REPORT_VERSION = 1


class Loss(msgspec.Struct):
    """`file`: a log or event file below the node's folder, or empty; `count`: how often it happened."""

    file: str
    code: str
    message: str
    count: int = 1


class Report(msgspec.Struct):
    """Times are RFC 3339, UTC. `ended`: when everything else of this node and session had been uploaded; null until then."""

    version: int
    node: str
    session: str
    role: str
    began: str
    ended: str | None = None
    losses: list[Loss] = msgspec.field(default_factory=list)
    losses_left_out: int = 0


_decode = msgspec.json.Decoder(Report).decode


def decode_report(content: bytes) -> Report:
    """Raises ValueError for what is no report."""
    return _decode(content)
