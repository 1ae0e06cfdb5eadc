"""`python -m collector`: what `ray-history collect` becomes, without what the command line needed."""

from __future__ import annotations

import ctypes
import gc
import sys

from shared.errors import HistoryError

# Of glibc's mallopt(3).
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1


def main() -> int:
    """The exit code; a failure is one line on stderr."""
    _keep_little_memory()
    # structlog would load it, only to colour tracebacks: 5 MB.
    sys.modules["rich"] = None  # type: ignore[assignment]
    from collector.collector import Collector  # noqa: PLC0415
    from shared.logs import set_up_logs  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings.from_environment()
        set_up_logs(settings.log)
        collector = Collector(settings)
        gc.collect()
        gc.freeze()
        collector.run()
    except (HistoryError, OSError) as exc:
        print(f"ray-history: {' '.join(str(exc).split())}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _keep_little_memory() -> None:
    """Batches come and go: what they took goes back to the system, and threads share one heap (glibc; elsewhere nothing happens)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 16 << 20), (_TRIM_THRESHOLD, 8 << 20)):
        mallopt(option, value)


if __name__ == "__main__":
    sys.exit(main())
