"""Entering sessions: finds them, tells live from dead, claims and enqueues loads, waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio
import structlog
from cachetools import TTLCache

from api.access.caller import may
from api.access.limits import CallerLimits
from api.audit import audit, require
from api.draining import Draining
from api.live.service import LiveSessions
from shared.catalogue import Catalogue
from shared.errors import (
    Forbidden,
    LoadFailed,
    QueueFull,
    SessionDeleted,
    SessionNotFound,
    SnapshotDamaged,
    SnapshotGone,
    StoreUnavailable,
    TooManyRequests,
)
from shared.live.port import LiveCluster
from shared.metrics import CLAIMS, EVICTIONS, TAKEOVERS
from shared.queue import LoadQueue
from shared.sessions import LATEST, LIVE, Session, SessionRef
from shared.settings import Settings
from shared.store.client import AsyncRedis, redis_errors
from shared.store.keys import Keyspace
from shared.store.load_status import LoadStatus, absent, read_status
from shared.store.protocol.visits import Visits

log = structlog.get_logger()

# A generation that was current so short a time ago is taken for current: a dashboard asks a dozen routes at once.
_CURRENT_FOR = 1.0
_FIRST_POLL, _LONGEST_POLL = 0.01, 0.25
# A load's end is seen late by at most this share of the wait.
_POLL_SHARE = 0.1
# So many requests at once ask the bucket for sessions that no recent listing holds; the threads of all others stay free.
_LOOKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Entered:
    """Where a reference led: to a live cluster, or to a stored session with a published generation, or with a load under way (none).

    `claimed`: this visit has asked Redis for the generation, which notes its use.
    """

    ref: SessionRef
    session: Session | None = None
    generation: str = ""
    cluster: LiveCluster | None = None
    claimed: bool = False


class Sessions:
    """One per API process. Raises SessionNotFound, and StorageUnavailable, StoreUnavailable or KubernetesUnavailable for outages."""

    def __init__(
        self,
        catalogue: Catalogue,
        redis: AsyncRedis,
        queue: LoadQueue,
        live: LiveSessions,
        settings: Settings,
        draining: Draining,
        limits: CallerLimits,
    ) -> None:
        self.catalogue = catalogue
        self.live = live
        self._redis = redis
        self._queue = queue
        self._draining = draining
        self._limits = limits
        self._keyspace = Keyspace.of(settings)
        self._lease = settings.load.lease
        self._visits = Visits(redis, self._keyspace, settings.load)
        self._current: TTLCache[SessionRef, Entered] = TTLCache(4096, _CURRENT_FOR)
        self._sending: set[asyncio.Future[None]] = set()
        self._looks = anyio.CapacityLimiter(_LOOKS_AT_ONCE)
        self._read_lately: TTLCache[SessionRef, asyncio.Future[LoadStatus]] = TTLCache(4096, _LONGEST_POLL / 2)

    async def enter(self, ref: SessionRef, *, force: bool = False, again: bool = False) -> Entered:
        """A live cluster, a published generation, or a load that runs from now on. Raises LoadFailed while it may not be tried again.

        `again`: the same visit has asked before.
        """
        await self._must_see(ref)
        entered = self._current.get(ref)
        if entered is not None and not force:
            return entered
        cluster = await self._live_cluster(ref)
        if cluster is not None:
            return Entered(ref, cluster=cluster)
        session = await self._stored(ref)
        if session is None:
            return Entered(ref, cluster=await self._only_live(ref))
        if self.live.enabled and ref.session != LATEST:
            # A loaded session was dead and stays so, unless a fault tolerant GCS brought it back; any other may run now.
            loaded = await self._is_loaded(session)
            cluster = self.live.revived(session) if loaded else await self.live.cluster_of(ref, session)
            if cluster is not None:
                if loaded:
                    await self._drop(session)
                return Entered(ref, session, cluster=cluster)
        entered = Entered(ref, session, await self._claim(session, force=force, again=again))
        if entered.generation:
            self._current[ref] = entered
            return replace(entered, claimed=True)
        return entered

    async def enter_loaded(self, ref: SessionRef, wait: float) -> Entered:
        """The same, but holds on until the session is loaded or `wait` seconds have passed."""
        begun = time.monotonic()
        deadline = begun + wait
        again = False
        while True:
            entered = await self.enter(ref, again=again)
            again = True
            now = time.monotonic()
            left = min(deadline, self._draining.until) - now
            if entered.generation or entered.cluster or left <= 0:
                return entered
            await anyio.sleep(min(max(_FIRST_POLL, (now - begun) * _POLL_SHARE), _LONGEST_POLL, left))

    async def stored(self, ref: SessionRef) -> Session:
        """The session in the storage, loaded or not; `latest`: the newest that is stored. Raises SessionNotFound."""
        await self._must_see(ref)
        session = await self._stored(ref)
        if session is None:
            raise SessionNotFound(f"there is no session {ref}")
        return session

    async def note_use(self, entered: Entered) -> None:
        """This generation is being read: it must not be the next one to be evicted, nor expire."""
        if entered.session is not None:
            await self._visits.note_use(entered.session.key, entered.generation, claimed=entered.claimed)

    @asynccontextmanager
    async def reading(self, entered: Entered) -> AsyncIterator[None]:
        """Around whatever reads this generation. What it finds missing is known to the next visit, which loads the session anew."""
        try:
            yield
        except SnapshotGone as exc:
            # Evicted, or replaced long ago, since this process last looked.
            self._current.pop(entered.ref, None)
            if isinstance(exc, SnapshotDamaged):
                await self._report_hole(entered)
            raise

    async def _report_hole(self, entered: Entered) -> None:
        """The snapshot lacks a part that its index names."""
        assert entered.session is not None  # noqa: S101
        if await self._visits.report_hole(entered.session.key, entered.generation):
            log.error("snapshot damaged", session=entered.session.key, snapshot=entered.generation)
            EVICTIONS.labels("damaged").inc()
        self._current.clear()

    async def status(self, ref: SessionRef) -> dict[str, Any]:
        """The load status record. A load that was cut off is taken over: somebody waits for it."""
        return (await self._status(ref)).record

    async def follow(self, ref: SessionRef) -> AsyncIterator[dict[str, Any]]:
        """The record whenever it changes, until it is final."""
        last: dict[str, Any] | None = None
        while True:
            status = await self._shared_status(ref)
            if status.record != last:
                last = status.record
                yield last
            if status.final or self._draining.begun:
                return
            await anyio.sleep(_LONGEST_POLL * self._limits.slower)

    async def _shared_status(self, ref: SessionRef) -> LoadStatus:
        """Read once for all who follow the session in this process."""
        await self._must_see(ref)
        reading = self._read_lately.get(ref)
        if reading is None:
            reading = self._read_lately[ref] = asyncio.ensure_future(self._status(ref))
        # Who leaves does not end it for the others.
        return await asyncio.shield(reading)

    async def evict(self, ref: SessionRef) -> None:
        """Drop a session's snapshot; a running load of it stops."""
        session = await self.stored(ref)
        await require(ref, "evict")
        await self._drop(session)
        audit("evicted", ref)

    async def _drop(self, session: Session) -> None:
        await self._visits.drop(session.key)
        EVICTIONS.labels("asked").inc()
        self._current.clear()

    async def _must_see(self, ref: SessionRef) -> None:
        """What may not be seen is not there."""
        if not await may(ref.namespace, "see"):
            audit("refused", ref, right="see")
            raise SessionNotFound(f"there is no session {ref}")

    async def _status(self, ref: SessionRef) -> LoadStatus:
        await self._must_see(ref)
        session = None if ref.session == LIVE else await self._stored(ref)
        if session is None or (ref.session == LATEST and self.live.enabled):
            cluster = await self._live_cluster(ref) or (None if session else await self._only_live(ref))
            if cluster is not None:
                owner = Session(cluster.namespace, cluster.name, LIVE, cluster.owner_kind, cluster.owner_name)
                return LoadStatus(absent(owner, "live"))
            if session is None:
                raise SessionNotFound(f"there is no session {ref}")
        status = await self._read_status(session)
        if status.asleep:
            with suppress(LoadFailed, Forbidden, TooManyRequests, QueueFull):  # the record says so; another caller may begin it
                await self._claim(session)
            status = await self._read_status(session)
        if status.state in ("absent", "failed") and self.live.enabled and await self.live.cluster_of(ref, session) is not None:
            return LoadStatus({**status.record, "state": "live"})
        return status

    async def _read_status(self, session: Session) -> LoadStatus:
        return await read_status(self._redis, self._keyspace.session(session.key), session, self._lease)

    async def _claim(self, session: Session, *, force: bool = False, again: bool = False) -> str:
        """The published snapshot, or "" while it is loaded. Enqueues what it claims. Raises LoadFailed."""
        await self._may_begin(session, force=force)
        # A caller that goes away must not leave a claim that nobody enqueued.
        with anyio.CancelScope(shield=True):
            entry = await self._visits.claim(session.key, force=force)
            if entry.enqueue:
                try:
                    await anyio.to_thread.run_sync(self._queue.send_load, session, entry.enqueue)
                except (StoreUnavailable, QueueFull):
                    await self._visits.release(session.key, entry.enqueue)
                    raise
                self._limits.note_load()
                audit("loads", session.ref)
            elif entry.check:
                # Beside the answer, which does not depend on it: what is served is complete, and the broker may be slow.
                sending = asyncio.ensure_future(self._send_check(session, entry.snapshot))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
        if entry.enqueue or not again:
            CLAIMS.labels("won" if entry.enqueue else "refused" if entry.outcome == "failed" else entry.outcome).inc()
        if entry.taken_over:
            TAKEOVERS.labels("api").inc()
        if entry.outcome == "failed":
            error = (await self._read_status(session)).record["error"] or {}
            if error.get("code") == SessionDeleted.code:
                raise SessionNotFound(error["message"])
            raise LoadFailed(
                error.get("message", "the last load failed"), code=error.get("code", "load_failed"), retry_after=entry.retry_after
            )
        return entry.snapshot

    async def _send_check(self, session: Session, snapshot: str) -> None:
        try:
            await anyio.to_thread.run_sync(self._queue.send_check, session, snapshot, abandon_on_cancel=True)
        except StoreUnavailable as exc:
            log.info("bucket not looked at", session=session.key, why=str(exc), consequence="a later visit asks again")

    async def _may_begin(self, session: Session, *, force: bool) -> None:
        """A visit of what is not loaded begins a load: may this caller do that now? Raises Forbidden and TooManyRequests."""
        allowed, wait = await may(session.namespace, "load"), self._limits.wait_for_load()
        if allowed and not wait:
            return
        if not force and (await self._read_status(session)).state not in ("absent", "failed"):
            return
        if not allowed:
            raise Forbidden(f"session {session.ref} is not loaded, and you may not have it loaded")
        raise TooManyRequests("you have started as many loads as one caller may in a minute", retry_after=wait)

    async def _is_loaded(self, session: Session) -> bool:
        with redis_errors():
            return bool(await self._redis.exists(self._keyspace.session(session.key).loaded))

    async def _stored(self, ref: SessionRef) -> Session | None:
        if ref.session == LIVE:
            return None
        if known := self.catalogue.known(ref):
            return known
        try:
            return await anyio.to_thread.run_sync(self.catalogue.resolve, ref, limiter=self._looks)
        except SessionNotFound:
            if not self.live.enabled:
                raise
            return None

    async def _live_cluster(self, ref: SessionRef) -> LiveCluster | None:
        """For references that mean a running cluster if there is one."""
        return await self.live.cluster_of(ref) if ref.session in (LIVE, LATEST) else None

    async def _only_live(self, ref: SessionRef) -> LiveCluster:
        """A session that the collector has not stored yet."""
        cluster = await self.live.cluster_of(ref) if ref.session not in (LIVE, LATEST) else None
        if cluster is None:
            raise SessionNotFound(f"there is no session {ref}")
        return cluster
