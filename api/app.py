"""The API process: our own routes, pages, and the dashboard's routes twice, by the cookies' session and by the path's."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from starlette.routing import Mount

from api import health, metrics_page
from api.access import login, provider_login
from api.access.limits import CallerLimits, StreamLimit
from api.access.middleware import Access, AuthenticatorHolder
from api.access.modes import open_authenticator
from api.access.rules import RouteRules
from api.browser_guard import BrowserGuard
from api.compare import routes as compare
from api.dashboard import actors, cluster, entity_summaries, events, jobs, nodes, state, stored, summaries, timeline
from api.dashboard.app import Dashboard
from api.dashboard.logs import routes as logs
from api.dashboard.routing import DashboardRoutes
from api.documented import PROBLEM
from api.draining import Draining
from api.errors import add_error_handlers
from api.export import routes as export
from api.host_names import HostNames, is_loopback
from api.jobs import routes as all_jobs
from api.jobs.table import JobTable
from api.live.service import LiveSessions
from api.overview import routes as overview
from api.pages import Frontend
from api.pages import router as pages
from api.request_log import RequestLog, RouteNames
from api.sessions import routes as sessions
from api.sessions.service import Sessions
from api.snapshots.fields import BlockCache
from api.websocket import WebSocketGets
from shared.catalogue import Catalogue
from shared.freed_memory import giving_back
from shared.live.factory import open_live
from shared.logs import set_up_logs
from shared.queue import LoadQueue, make_celery
from shared.settings import Settings
from shared.storage.factory import open_storage
from shared.storage.metered import MeteredStorage
from shared.store.client import open_async_redis
from shared.store.job_index import JobIndexReader
from shared.store.keys import Keyspace
from shared.store.logins import Logins

log = structlog.get_logger()

_DASHBOARD = (state, summaries, timeline, entity_summaries, nodes, actors, jobs, events, cluster, logs, stored)
_ROUTERS = (
    health.router,
    metrics_page.router,
    sessions.router,
    all_jobs.router,
    overview.router,
    compare.router,
    export.router,
    login.router,
    provider_login.router,
    pages,
)
# Requests are counted and logged by us; FastAPI would ask anew for each of them whether OpenTelemetry is set up.
_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
# Calls of storage and queue that block; the rest is asynchronous.
_THREADS = 64


def create_app() -> FastAPI:
    """The app with settings from the environment. Raises SettingsError."""
    settings = Settings.from_environment()
    set_up_logs(settings.log)
    return create_app_with(settings)


def create_app_with(settings: Settings) -> FastAPI:
    """Connections are opened when the app starts, in its own event loop."""
    draining = Draining(settings.api.drain, settings.api.shutdown_grace)
    _warn_of_openness(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        storage = MeteredStorage(open_storage(settings.storage))
        redis = open_async_redis(settings.redis)
        queue = LoadQueue(make_celery(settings), settings.load.queue_limit)
        access.authenticator = open_authenticator(settings, Logins(redis, Keyspace.of(settings)))
        live = LiveSessions(*open_live(settings.live, storage), settings.live)
        await live.start()
        app.state.storage, app.state.redis, app.state.queue, app.state.keyspace = storage, redis, queue, Keyspace.of(settings)
        app.state.jobs = JobTable(JobIndexReader(redis, app.state.keyspace))
        app.state.cache = BlockCache(settings.api.block_cache)
        app.state.limits = CallerLimits(settings.api)
        catalogue = Catalogue(storage, settings.storage.catalogue_max_age)
        app.state.sessions = Sessions(catalogue, redis, queue, live, settings, draining, app.state.limits)
        # What was imported and set up stays for good: going through it whenever cycles are collected would hold requests up for 60 ms.
        gc.collect()
        gc.freeze()
        try:
            async with giving_back():
                with draining.on_sigterm():
                    yield
        finally:
            await access.authenticator.aclose()
            await live.aclose()
            await redis.aclose()
            queue.close()
            storage.close()

    # `/docs` without other servers' files: machines without a way out have it, too.
    app = FastAPIOffline(
        title="Ray History Server",
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        static_url="/docs-files",
        telemetry=_TELEMETRY,
        responses=PROBLEM,
    )
    access = AuthenticatorHolder()
    app.state.settings, app.state.draining, app.state.access = settings, draining, access
    routes = DashboardRoutes(module.routes for module in _DASHBOARD)
    dashboard = Dashboard(routes, app.state, settings.api)
    # First, as most requests are for it: routes are tried in order.
    app.router.routes.insert(
        0, Mount("/sessions/{namespace}/{kind}/{name}/{session}/dashboard", app=Frontend(dashboard, app.state, settings.api))
    )
    for router in _ROUTERS:
        app.include_router(router)
    app.router.default = dashboard
    add_error_handlers(app)
    ours = [route for router in _ROUTERS for route in router.routes]
    app.state.own_routes = ours
    names = RouteNames(ours, routes.routes)
    # The last one is outermost.
    app.add_middleware(StreamLimit, state=app.state)
    app.add_middleware(Access, rules=RouteRules([*(route for route in app.routes if hasattr(route, "path")), *ours]), holder=access)
    app.add_middleware(BrowserGuard, names=HostNames.of(settings.api))
    app.add_middleware(RequestLog, names=names, draining=draining)
    app.add_middleware(WebSocketGets)
    return app


def _warn_of_openness(settings: Settings) -> None:
    if settings.auth.auth == "none" and not is_loopback(settings.api.host):
        told = "whoever reaches this server sees every session, and may load, evict and reach live dashboards"
        log.warning("no login", host=settings.api.host, consequence=told, setting="RAY_HISTORY_AUTH")
    if HostNames.of(settings.api).any:
        log.warning("any host name is answered to", consequence="no protection from DNS rebinding", setting="RAY_HISTORY_HOST_NAMES")
