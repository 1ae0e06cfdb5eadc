"""What `ray-history worker` goes on as."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shared import metrics_files

if TYPE_CHECKING:
    from shared.settings import Settings


def run(name: str, processes: int, *, light_lane: bool, ready_file: str | None) -> int:
    """Until a signal asks to end. Raises SettingsError."""
    if "prometheus_client" not in sys.modules:
        metrics_files.share_between_processes()
    # Imported here: metrics are shared as it stands when they are declared.
    from shared.broker import check_broker  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415
    from shared.store.start_check import check_redis  # noqa: PLC0415

    try:
        settings = Settings.from_environment()
        check_redis(settings.redis)
        check_broker(settings.redis)
        return work(settings, name, processes, light_lane=light_lane, ready_file=Path(ready_file) if ready_file else None)
    finally:
        metrics_files.forget_all()


def work(settings: Settings, name: str, processes: int, *, light_lane: bool, ready_file: Path | None) -> int:
    """Until a signal asks to end. Returns the exit code."""
    from shared.logs import set_up_logs  # noqa: PLC0415

    set_up_logs(settings.log)
    from workers import tasks, worker_metrics  # noqa: F401, PLC0415
    from workers.lane import lanes  # noqa: PLC0415
    from workers.supervisor import Supervisor  # noqa: PLC0415

    return Supervisor(lanes(name, processes, light=light_lane), settings, ready_file).run()
