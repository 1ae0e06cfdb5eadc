"""docs/reliability.md, written from the outcomes of a soak."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from os import cpu_count, getloadavg

from tests.soak.plan import FAULTS
from tests.soak.run import Outcome

_HEAD = (
    "fault",
    "runs",
    "recovered",
    "worst recovery",
    "default leases: worst",
    "wrong answers",
    "leaked keys",
    "budget drift",
    "publishes a generation",
)
_TEXT = """\
# Reliability

Written by `make soak`, not by hand. Every run visits one generated session on a real deployment while one or two faults strike it, and
then asks whether it recovered and whether anything wrong was said or left behind.

- command: `{command}`
- date: {date}
- machine: {machine}
- servers: {servers}
- runs: {runs} ({small} of small sessions, one task each; {large} of larger ones, in about twenty steps; {default} with the leases of a
  deployment that sets none), {answers} answers judged, {right} of them whole ones compared byte by byte with the right one

{table}

## What is measured

- *Deployment*: a Redis-compatible server with its append-only file, two API processes, two workers, a bucket in a directory. Each process
  reaches Redis through a proxy of its own, which can lose replies, stall, and hold a process at its n-th command while the fault strikes.
- *When*: at a random time of the load, at a phase of it, at exactly one command of a worker (sent afterwards, or never), or while the loaded
  session is read. A quarter of the runs has a second fault, and counts in the rows of both.
- *Recovered*: loaded, complete and read rightly within the lease and 10 s (short leases: {quick} s; default leases: {slow} s), counted from
  the next visit after the deployment can work again: a lone worker that was killed has a successor, Redis is back.
  Work counts, too: on a machine whose load (15 minutes) is far above its CPUs, loads alone take that long.
  A load that failed may say so, with an error that names the reason, and is loaded at the next visit that may try it.
- *Wrong answers*: visitors enter, poll and read without pause on both API processes, all the time. Each answer is the right one, or says
  that there is none now: 202 or 503 with `Retry-After`. Anything else is counted here: another status, other bytes than those of an
  undisturbed load (whose rows are compared with what the generator wrote), `complete` with files unread.
- *Leaked keys*: keys that have no TTL and are in no index. *Budget drift*: bytes that the byte budget counts for a snapshot, and bytes it has.
- *Publishes*: how often the most published generation of any run was published.
- Afterwards a session that nobody has visited must load, no message may be held by a worker that runs nothing, no worker may have ended by
  itself with code 0, and no process may outlive its killed parent.{bad}

## Run it

```
make soak                              # 200 runs of seed 1, four at a time
make soak RUNS=1000 SEED=7 JOBS=6      # any number of runs; JOBS is how many stacks run side by side
make soak ARGS="--run 137"             # one run alone: what its line named
make soak ARGS="--only 'FLUSHALL'"     # one fault
```

A run prints one line, with its number; seed and number decide all of it but the timing of processes. `ARGS="--page docs/reliability.md"`
writes this page. A part of it, of about two minutes, runs with the tests (`tests/integration/test_soak.py`).
"""


def page(outcomes: Sequence[Outcome], command: str, servers: str) -> str:
    bad = [outcome for outcome in outcomes if not outcome.good]
    return _TEXT.format(
        command=command,
        date=datetime.now(UTC).date(),
        machine=f"{platform.system()} {platform.machine()}, {cpu_count()} CPUs, Python {platform.python_version()}, load {getloadavg()[2]:.0f}",
        servers=servers,
        runs=len(outcomes),
        small=sum(outcome.plan.size == "small" for outcome in outcomes),
        large=sum(outcome.plan.size != "small" for outcome in outcomes),
        default=sum(not outcome.plan.quick for outcome in outcomes),
        answers=sum(outcome.answers for outcome in outcomes),
        right=sum(outcome.right for outcome in outcomes),
        table=table(outcomes),
        quick="12",
        slow="30",
        bad="".join(["\n\n## Runs that were not good\n\n```\n", *(f"{outcome}\n" for outcome in bad), "```"]) if bad else "",
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """In Markdown: a row for each fault that struck, and one for all runs."""
    every = list(outcomes)
    rows = [(name, [outcome for outcome in every if name in outcome.plan.faults]) for name in FAULTS]
    cells = [_HEAD, *(_row(name, of) for name, of in [*rows, ("**all**", every)] if of)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(_HEAD))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _row(name: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    return (
        name,
        str(len(outcomes)),
        str(sum(outcome.recovered for outcome in outcomes)),
        _worst([outcome for outcome in outcomes if outcome.plan.quick]),
        _worst([outcome for outcome in outcomes if not outcome.plan.quick]),
        str(sum(len(outcome.wrong) for outcome in outcomes)),
        str(sum(len(outcome.leaked) for outcome in outcomes)),
        f"{sum(outcome.drift for outcome in outcomes)} B",
        str(max(outcome.publishes for outcome in outcomes)),
    )


def _worst(outcomes: list[Outcome]) -> str:
    if not outcomes:
        return "-"
    took = [outcome.recovery for outcome in outcomes]
    return "never" if None in took else f"{max(one for one in took if one is not None):.1f} s"
