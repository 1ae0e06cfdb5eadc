"""Which sessions live clusters run: asked briefly and kept for half a minute, known or not. Never used to call a session dead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
from cachetools import TTLCache

from shared.live.asking import Asker
from shared.live.port import LiveCluster

KEPT = 30.0
# A page of clusters waits this long for heads that hang, once in KEPT seconds.
_WITHIN = 1.0
_AT_ONCE = 32
_MOST_KEPT = 4096


class RunningSessions:
    """One per event loop."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._names: TTLCache[str, str | None] = TTLCache(_MOST_KEPT, KEPT)
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def names(self, clusters: Sequence[LiveCluster]) -> dict[str, str]:
        """The running session's name by `LiveCluster.key`; clusters whose head did not say so quickly are left out."""
        with anyio.move_on_after(_WITHIN):
            async with anyio.create_task_group() as group:
                for cluster in clusters:
                    if _identity(cluster) not in self._names:
                        group.start_soon(self._ask, cluster)
        for cluster in clusters:
            self._names.setdefault(_identity(cluster), None)
        known = ((cluster.key, self._names.get(_identity(cluster))) for cluster in clusters)
        return {key: name for key, name in known if name}

    def name(self, cluster: LiveCluster) -> str | None:
        """What is known at once; what is not is asked in the background, for the next caller."""
        identity = _identity(cluster)
        if identity not in self._names and identity not in self._asking:
            task = self._asking[identity] = asyncio.create_task(self._ask(cluster))
            task.add_done_callback(lambda _: self._asking.pop(identity, None))
        return self._names.get(identity)

    async def aclose(self) -> None:
        """Give up questions that are on their way."""
        for task in list(self._asking.values()):
            task.cancel()

    async def _ask(self, cluster: LiveCluster) -> None:
        async with self._at_once:
            self._names[_identity(cluster)] = (await self._asker.once(cluster, within=_WITHIN)).session


def _identity(cluster: LiveCluster) -> str:
    return f"{cluster.key}/{cluster.uid}"
