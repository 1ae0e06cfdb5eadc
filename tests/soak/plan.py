"""What one run does, all of it decided by a seed and a number."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.servers import redis_binaries
from tests.soak.moments import Moment
from tests.soak.process_faults import PROCESS_FAULTS
from tests.soak.redis_faults import REDIS_FAULTS
from tests.soak.truth import Size

FAULTS = {**PROCESS_FAULTS, **REDIS_FAULTS}
_NAMES = list(FAULTS)
# Of eight runs one has the leases of a deployment that sets none; of four one sees a second fault while it suffers from the first.
_DEFAULT_LEASES = 8
_SECOND_FAULT = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """`quick`: leases are short."""

    seed: int
    number: int
    size: Size
    server: str
    quick: bool
    faults: tuple[str, ...]
    moments: tuple[Moment, ...]

    @classmethod
    def of(cls, seed: int, number: int, only: tuple[str, ...] = (), *, stack: tuple[str, bool] | None = None, alone: bool = False) -> Plan:
        """Faults come in turn, so that a soak of any length has about as many runs of each. `alone`: never a second one."""
        chance = random.Random(f"soak/{seed}/{number}")
        names = only or _NAMES
        faults = [names[number % len(names)]]
        if chance.random() < _SECOND_FAULT and not alone:
            faults.append(chance.choice([name for name in _NAMES if name != faults[0]]))
        size: Size = chance.choice(("small", "fan-out", "fan-out"))
        moments = tuple(Moment.of(FAULTS[name].moments, size, chance) for name in faults)
        server, quick = stack or _stack(number // len(names) + number % len(names))
        return cls(seed, number, size, server, quick, tuple(faults), moments)

    @property
    def stack(self) -> tuple[str, bool]:
        """Runs on the same kind of stack can follow each other on one."""
        return self.server, self.quick

    def __str__(self) -> str:
        faults = ", then ".join(f"{name} ({moment})" for name, moment in zip(self.faults, self.moments, strict=True))
        return f"{self.size} session, {self.server}, {'short' if self.quick else 'default'} leases: {faults}"


def _stack(turn: int) -> tuple[str, bool]:
    """Counted with an offset by fault: each meets every kind of stack."""
    servers = sorted(redis_binaries())
    return servers[turn % len(servers)], turn // len(servers) % _DEFAULT_LEASES != 0
