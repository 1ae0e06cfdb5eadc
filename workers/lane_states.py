"""What each lane's process last said about itself, in memory that it shares with the processes that supervise and probe it."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Sequence

STARTING = "starting"
TAKING = ""
ENDING = "ending"
BROKER = "broker"
STUCK = "stuck"
POOL = "pool"
_WORDS = (STARTING, TAKING, ENDING, BROKER, STUCK, POOL)
_RECORD = struct.Struct("=dB")
# A lane says something every second.
_SILENT = 15.0


class LaneStates:
    """Per lane: when it last said something (seconds of the system's monotonic clock), and what. Made before the lanes are forked."""

    def __init__(self, lanes: Sequence[str]) -> None:
        self._lanes = list(lanes)
        self._memory = mmap.mmap(-1, _RECORD.size * len(self._lanes))
        for lane in self._lanes:
            self.say(lane, STARTING)

    def say(self, lane: str, state: str) -> None:
        """Said by the lane itself, by its supervisor where it does not run, and again and again: silence has a meaning."""
        _RECORD.pack_into(self._memory, self._at(lane), time.monotonic(), _WORDS.index(state))

    def state(self, lane: str) -> str:
        said_at, word = _RECORD.unpack_from(self._memory, self._at(lane))
        state = _WORDS[word]
        return STUCK if state not in (STARTING, ENDING) and time.monotonic() - said_at > _SILENT else state

    def missing(self) -> list[str]:
        """Why some lane takes no tasks now; empty when all do."""
        return sorted({self.state(lane) for lane in self._lanes} - {TAKING})

    def _at(self, lane: str) -> int:
        return self._lanes.index(lane) * _RECORD.size
