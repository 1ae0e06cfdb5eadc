"""`python -m collector`: what `ray-history collect` becomes, without what the command line needed."""

from __future__ import annotations

import gc
import sys

from collector.collector import Collector
from shared.errors import HistoryError
from shared.logs import set_up_logs
from shared.settings import Settings


def main() -> int:
    """The exit code; a failure is one line on stderr."""
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


if __name__ == "__main__":
    sys.exit(main())
