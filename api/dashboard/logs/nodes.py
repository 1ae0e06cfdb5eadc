"""The nodes whose logs a request may name, and what logs each of them has."""

from __future__ import annotations

import time
from typing import cast

import anyio
import msgspec

from api.dashboard.logs.names import names_below
from api.dashboard.routing import DashboardScope
from shared.layout import log_prefixes

_NODE_DIGITS = 56
# Collectors may still upload what a dead session's nodes left behind.
_LISTING_AGE = 15.0


class BadId(ValueError):
    """An id that Ray's binary ids can't be made of. The message is live's."""


class _Node(msgspec.Struct):
    node_id: str
    node_ip: str | None = None
    state: str | None = None
    start_time_ms: float | None = None


_decode = msgspec.json.Decoder(_Node).decode


def checked_id(text: str, digits: int) -> str:
    """A hex id of so many digits, in lower case. Raises BadId."""
    try:
        size = len(bytes.fromhex(text))
    except ValueError:
        raise BadId("Non-hexadecimal digit found" if len(text) % 2 == 0 else "Odd-length string") from None
    if size * 2 != digits or len(text) != digits:
        raise BadId(f"ID string needs to have length {digits // 2}, got {size}")
    return text.lower()


def checked_node(node_id: str) -> str:
    return checked_id(node_id, _NODE_DIGITS)


async def node_of_ip(scope: DashboardScope, node_ip: str) -> str | None:
    """The node that had the address; of several in turn the last one, as live's newest agent."""
    nodes = [node for node in await _nodes(scope) if node.node_ip == node_ip]
    newest = max(nodes, key=lambda node: (node.state == "ALIVE", node.start_time_ms or 0), default=None)
    return newest.node_id if newest else None


async def all_nodes(scope: DashboardScope) -> list[str]:
    return [node.node_id for node in await _nodes(scope)]


async def is_node(scope: DashboardScope, node_id: str) -> bool:
    """Was it a node of the session: by its events, or by the logs it left?"""
    return node_id in await all_nodes(scope) or bool(await log_names(scope, node_id))


async def log_names(scope: DashboardScope, node_id: str) -> list[str]:
    """What `names_below` makes of one node's logs, listed at most every few seconds. Raises StorageUnavailable."""
    place = f"logs:{node_id}"
    cached = cast("tuple[float, list[str]] | None", scope.snapshot.cached(place))
    if cached is not None and time.monotonic() - cached[0] < _LISTING_AGE:
        return cached[1]
    prefixes = log_prefixes(scope.session, node_id)
    found = await anyio.to_thread.run_sync(lambda: [names_below(prefix, scope.storage.list(prefix)) for prefix in prefixes])
    names = found[0] if len(found) == 1 else sorted(set().union(*found))
    scope.snapshot.keep(place, (time.monotonic(), names), sum(map(len, names)) + 64 * len(names))
    return names


async def _nodes(scope: DashboardScope) -> list[_Node]:
    if "nodes" not in (await scope.snapshot.meta()).tables:
        return []
    page = await scope.snapshot.table("nodes").select(limit=100_000, detail=True)
    return [_decode(row) for row in page.rows]
