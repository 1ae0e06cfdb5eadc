"""The parts of `ray-history up` that are forked from it. All is imported and read before, once: they share that memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from cli import allocator
from cli.begin import ended_as
from shared import metrics_files
from shared.freed_memory import give_back
from shared.huge_pages import use_huge_pages

# What uvicorn imports by name when it starts comes after our own.
_OF_THE_API = """
    cli.run_api api.app anyio._backends._asyncio uvicorn.lifespan.on uvicorn.loops.uvloop uvicorn.middleware.proxy_headers
    uvicorn.protocols.http.httptools_impl uvicorn.protocols.websockets.auto
"""
_OF_THE_WORKER = "cli.run_worker workers.tasks workers.worker_metrics workers.supervisor"


class ForkedParts:
    """Made when Redis is known. Nothing that is imported starts threads or opens connections. Raises SettingsError."""

    def __init__(self) -> None:
        use_huge_pages(use=False)
        # Before metrics are declared: each part counts in files of its own.
        metrics_files.share_between_processes()
        for name in f"{_OF_THE_API} {_OF_THE_WORKER}".split():
            import_module(name)
        from shared.settings import Settings  # noqa: PLC0415
        from workers.lane import import_for_lanes  # noqa: PLC0415

        self._settings = Settings.from_environment()
        import_for_lanes(self._settings)

    def check(self) -> None:
        """When Redis answers, before the first fork. Raises SettingsError."""
        from shared.broker import check_broker  # noqa: PLC0415
        from shared.store.start_check import check_redis  # noqa: PLC0415

        check_redis(self._settings.redis)
        check_broker(self._settings.redis)
        gc.collect()
        give_back()
        # Going through all of it would copy it.
        gc.freeze()

    def api(self) -> int:
        """The work of an API process."""
        from api.app import create_app_with  # noqa: PLC0415
        from cli.run_api import serve  # noqa: PLC0415
        from shared.logs import set_up_logs  # noqa: PLC0415

        allocator.become_api()
        set_up_logs(self._settings.log)
        return _counted_apart(lambda: serve(self._settings, partial(create_app_with, self._settings), self._settings.api.port))

    def worker(self, processes: int, ready_file: Path) -> int:
        """The work of a worker's first process."""
        from cli.run_worker import work  # noqa: PLC0415

        return _counted_apart(lambda: work(self._settings, "worker@%h", processes, light_lane=True, ready_file=ready_file))

    def close(self) -> None:
        """When all parts have ended."""
        metrics_files.forget_all()


def _counted_apart(run: Callable[[], int]) -> int:
    metrics_files.share_between_processes()
    try:
        return ended_as(run)
    finally:
        metrics_files.forget_all()
