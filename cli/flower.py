"""`ray-history flower`: Celery's web page on our queue, behind a password."""

from __future__ import annotations

import atexit
import os
import signal
from contextlib import suppress

import structlog

from cli.output import Failed
from shared.broker import check_broker
from shared.errors import SettingsError
from shared.logs import set_up_logs
from shared.queue import make_celery
from shared.settings import FlowerSettings, Settings

log = structlog.get_logger()

# A Redis that is far away takes longer to pass questions to workers than Flower's second.
_INSPECT_MS = 3000.0


def flower() -> None:
    """Run Flower, which shows workers, the queue and every task with its session.

    RAY_HISTORY_FLOWER_PASSWORD must be set. Its /metrics and /healthcheck ask for no password.
    """
    settings = Settings.from_environment()
    allowed = credentials(settings.flower)
    check_broker(settings.redis)
    set_up_logs(settings.log)
    # Imported here: its options are global, and Tornado is not needed by anything else.
    from flower.app import Flower  # noqa: PLC0415
    from flower.command import extract_settings, setup_logging, sigterm_handler  # noqa: PLC0415
    from flower.options import options  # noqa: PLC0415
    from flower.urls import settings as tornado  # noqa: PLC0415

    given = {
        "address": settings.flower.flower_host,
        "port": settings.flower.flower_port,
        "url_prefix": settings.flower.flower_prefix.strip("/"),
        "basic_auth": allowed,
        "read_only": settings.flower.flower_read_only,
        "inspect_timeout": _INSPECT_MS,
        "xheaders": True,
    }
    for name, value in given.items():
        setattr(options, name, value)
    if allowed is None:
        os.environ["FLOWER_UNAUTHENTICATED_API"] = "true"
    extract_settings()
    setup_logging()
    server = Flower(capp=make_celery(settings), options=options, **tornado)
    atexit.register(server.stop)
    signal.signal(signal.SIGTERM, sigterm_handler)
    try:
        port = server.start_http_server()
    except OSError as exc:
        raise Failed(f"cannot listen on {settings.flower.flower_host} port {settings.flower.flower_port}: {exc.strerror or exc}") from exc
    log.info("flower is ready", host=settings.flower.flower_host, port=port, read_only=settings.flower.flower_read_only)
    with suppress(KeyboardInterrupt, SystemExit):
        server.start()


def credentials(settings: FlowerSettings) -> list[str] | None:
    """None: whoever reaches the port is let in, as the settings say. Raises SettingsError."""
    password = settings.flower_password.get_secret_value()
    if not password:
        if settings.flower_unauthenticated:
            return None
        raise SettingsError("RAY_HISTORY_FLOWER_PASSWORD is not set (or say RAY_HISTORY_FLOWER_UNAUTHENTICATED=true)")
    if settings.flower_unauthenticated:
        raise SettingsError("RAY_HISTORY_FLOWER_UNAUTHENTICATED contradicts RAY_HISTORY_FLOWER_PASSWORD: set one of them")
    if not (settings.flower_user + password).isascii():
        raise SettingsError("RAY_HISTORY_FLOWER_PASSWORD and _USER must be ASCII: Flower compares nothing else")
    return [f"{settings.flower_user}:{password}"]
