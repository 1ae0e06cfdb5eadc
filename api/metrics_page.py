"""`/metrics` of an API replica: what its processes counted, and what Redis, queue and Kubernetes are asked for at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from api.sessions.service import Sessions
from shared import metrics
from shared.errors import StoreUnavailable
from shared.exposition import page
from shared.metrics import Metric
from shared.queue import QueueDepth
from shared.settings import Settings
from shared.store.protocol.budget import SnapshotUsage, read_snapshot_usage

router = APIRouter()

_LOOK_SECONDS = 3.0


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics_page(request: Request) -> Response:
    """Prometheus' text format. Redis being away is a figure of it, not a failure."""
    state = request.app.state
    usage: SnapshotUsage | None = None
    depth: QueueDepth | None = None
    with suppress(StoreUnavailable, TimeoutError), anyio.fail_after(_LOOK_SECONDS):
        usage = await read_snapshot_usage(state.redis, state.keyspace)
    with suppress(StoreUnavailable, TimeoutError), anyio.fail_after(_LOOK_SECONDS):
        depth = await anyio.to_thread.run_sync(state.queue.depth, abandon_on_cancel=True)
    looked_up = [(metric.name, metric.meaning, value) for metric, value in _values(usage, depth, state.sessions, state.settings)]
    body, content_type = await anyio.to_thread.run_sync(page, looked_up)
    return Response(body, headers={"Content-Type": content_type})


def _values(
    usage: SnapshotUsage | None, depth: QueueDepth | None, sessions: Sessions, settings: Settings
) -> Iterator[tuple[Metric, float]]:
    yield metrics.REDIS_UP, float(usage is not None)
    yield metrics.SNAPSHOT_BUDGET, settings.load.snapshot_budget
    if depth is not None:
        yield metrics.QUEUE_DEPTH, depth.waiting
        if depth.taken is not None:
            yield metrics.QUEUE_TAKEN, depth.taken
    if usage is not None:
        yield metrics.SNAPSHOTS, usage.snapshots
        yield metrics.SNAPSHOT_BYTES, usage.snapshot_bytes
    if (age := sessions.live.age) is not None:
        yield metrics.KUBERNETES_AGE, age
