"""The soak: `python -m tests.soak --runs 200 --seed 1 --jobs 4`, or `make soak`. Exit code 1 when any run was not good."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.servers import redis_binaries
from tests.soak import report
from tests.soak.jobs import soak
from tests.soak.plan import FAULTS, Plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4, help="stacks side by side: runs are mostly waiting")
    parser.add_argument("--run", type=int, action="append", help="only the run of this number; may be repeated")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="only this fault first; may be repeated")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="end after so many, with what has run by then")
    parser.add_argument("--page", type=Path, help="write docs/reliability.md here")
    parser.add_argument("--directory", type=Path, default=Path(".soak"), help="where sessions and logs are kept")
    given = parser.parse_args()
    numbers = given.run or range(given.runs)
    plans = [Plan.of(given.seed, number, tuple(given.only or ())) for number in numbers]
    directory = given.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcomes = soak(plans, directory, min(given.jobs, len(plans)), 60 * given.minutes)
    print(report.table(outcomes))
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(f"{len(outcomes)} runs in {time.monotonic() - began:.0f} s, {len(bad)} not good: {[outcome.plan.number for outcome in bad]}")
    if given.page:
        given.page.write_text(report.page(outcomes, f"make soak RUNS={given.runs} SEED={given.seed} JOBS={given.jobs}", _servers()))
    return 1 if bad else 0


def _servers() -> str:
    said = [subprocess.check_output([binary, "--version"], text=True) for binary in redis_binaries().values()]
    return ", ".join(" ".join(one.split()[:1] + [word for word in one.split() if word.startswith("v=")]) for one in said)


if __name__ == "__main__":
    sys.exit(main())
