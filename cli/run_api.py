"""What `ray-history api` goes on as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn

from api.http_protocol import http_protocol
from shared import metrics_files
from shared.broker import check_broker
from shared.settings import Settings
from shared.store.start_check import check_redis

# Longer than proxies and load balancers keep idle connections (nginx, Amazon's: 60 s): the server must not be the first to close one.
_KEEP_ALIVE = 75


def run(port: int | None, processes: int) -> int:
    """Until a signal asks to end. Raises SettingsError."""
    settings = Settings.from_environment()
    check_redis(settings.redis)
    check_broker(settings.redis)
    if processes > 1:
        metrics_files.share_between_processes()
    try:
        return serve(settings, "api.app:create_app", settings.api.port if port is None else port, processes)
    finally:
        if processes > 1:
            metrics_files.forget_all()


def serve(settings: Settings, factory: str | Callable[[], Any], port: int, processes: int = 1) -> int:
    """Until a signal asks to end. `factory`: of the app, a name where there are several processes."""
    uvicorn.run(
        factory,
        factory=True,
        host=settings.api.host,
        port=port,
        workers=processes,
        loop="uvloop",
        http=http_protocol(settings.api),
        # Logs are set up by create_app, requests are logged there with their session; behind a proxy its headers count.
        log_config=None,
        access_log=False,
        server_header=False,
        # Whom a proxy names counts only if the request comes from that proxy: its own address must not be replaced by what it forwards.
        proxy_headers=settings.auth.auth != "proxy",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.api.shutdown_grace)),
    )
    return 0
