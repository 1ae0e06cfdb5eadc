"""When something that ended by itself is started again: soon at first, then later and later, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST = 0.5
_LONGEST = 30.0
# What ran so long had begun well: whatever ended it then is another matter.
_RAN_WELL = 60.0
_TRIES = 6


class Restarts:
    """Of one process. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._in_a_row = 0

    def after(self) -> float | None:
        """It has ended: the seconds until it is to be started again, or None when it ends again and again."""
        if self._clock() - self._began >= _RAN_WELL:
            self._in_a_row = 0
        self._in_a_row += 1
        return min(_LONGEST, _FIRST * 2 ** (self._in_a_row - 1)) if self._in_a_row <= _TRIES else None

    def begun(self) -> None:
        self._began = self._clock()
