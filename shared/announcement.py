"""What a head's collector says while its cluster runs: which session, and where its dashboard is. `cluster-live/{ns}_{cluster}.json`.

For clusters that no Kubernetes knows. Believed only when a setting says so: the history server goes to the address that is written there.
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
