"""When a fault strikes: at a time, at a phase that the load status shows, or exactly at a worker's n-th command to Redis."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Literal

from tests.soak.redis_proxy import Trap
from tests.soak.stack import Stack
from tests.soak.truth import Size
from tests.soak.visitors import Visitor

Kind = Literal["before", "at once", "after", "parsing", "merging", "publishing", "command", "loaded"]
WHILE_LOADING: tuple[Kind, ...] = ("at once", "after", "parsing", "merging", "publishing", "command", "command", "command")
READING: tuple[Kind, ...] = ("loaded",)
# How many commands the workers send for one load, about, and how long it takes.
_COMMANDS: dict[Size, int] = {"small": 25, "fan-out": 140}
_SECONDS: dict[Size, float] = {"small": 0.5, "fan-out": 2.0}
_LONGEST = 8.0


@dataclass(frozen=True, slots=True)
class Moment:
    """`number`: of the command, or so many seconds after the first visit."""

    kind: Kind
    number: float = 0.0
    # Of a command: whether it still reaches Redis after the fault.
    forward: bool = True

    @classmethod
    def of(cls, kinds: tuple[Kind, ...], size: Size, chance: random.Random) -> Moment:
        kind = chance.choice(kinds)
        number = {"command": float(chance.randint(1, _COMMANDS[size])), "after": round(chance.uniform(0, _SECONDS[size]), 2)}
        return cls(kind, number.get(kind, 0.0), chance.random() < 0.5)

    def __str__(self) -> str:
        if self.kind == "command":
            return f"at command {self.number:.0f}, which is {'sent' if self.forward else 'not sent'} then"
        return f"{self.number:.2f} s after the first visit" if self.kind == "after" else self.kind

    def trap(self) -> Trap | None:
        """To be set before the first visit."""
        if self.kind != "command":
            return None
        return Trap(int(self.number), forward=self.forward)

    def wait(self, stack: Stack, visitor: Visitor, trap: Trap | None, first_visit: float) -> None:
        """Return when it has come, or at the latest when the session is loaded."""
        deadline = first_visit + (4 * _LONGEST if self.kind == "loaded" else _LONGEST)
        if self.kind == "after":
            time.sleep(max(0.0, first_visit + self.number - time.monotonic()))
        while self.kind not in ("before", "at once", "after") and time.monotonic() < deadline:
            if trap and trap.reached.wait(0.02):
                return
            record = visitor.status()
            if record.get("state") == "loaded" or record.get("progress", {}).get("phase") == self.kind:
                return
            time.sleep(0.02)
