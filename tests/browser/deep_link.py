"""How long a deep link to a cold session takes, in a fresh browser:

python -m tests.browser.deep_link [--tasks 100000] [--build 2.60.0] [--directory DIR] [--workers N]

The session is made anew unless DIR has it. Ends with 1 when the browser does not land on the named page by itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import expect

from benchmarks.sessions import SessionPlan, ensure
from shared.sessions import SessionRef
from tests.browser.chromium import chromium, fetched_builds
from tests.running import running

_MOST = 300_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.deep_link", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--build", default="2.60.0")
    parser.add_argument("--directory", type=Path, help="where the session is kept")
    parser.add_argument("--workers", default="1")
    given = parser.parse_args()
    pages = fetched_builds([given.build])
    with tempfile.TemporaryDirectory() as scratch:
        bucket = (given.directory or Path(scratch)) / "bucket"
        made = ensure(SessionPlan(given.tasks), bucket)
        ref = SessionRef(made.plan.session.namespace, "raycluster", made.plan.name, made.plan.session.session)
        job, attempts = max(made.attempts_by_job.items(), key=lambda item: item[1])
        options = ("--dashboard-dir", str(pages), "--workers", given.workers)
        with running(bucket, Path(scratch), *options) as address, chromium() as browser:
            page = browser.new_page()
            link = f"{address}/sessions/{ref}/dashboard/#/jobs/{job}"
            began = time.monotonic()
            page.goto(link)
            expect(page.get_by_role("progressbar")).to_be_visible(timeout=_MOST)
            shown = time.monotonic() - began
            page.wait_for_url("**/dashboard/#/jobs/*", timeout=_MOST)
            entered = time.monotonic() - began
            expect(page.get_by_text("Task Table").first).to_be_visible(timeout=_MOST)
            expect(page.get_by_role("row").filter(has_text="FINISHED").first).to_be_visible(timeout=_MOST)
            landed = time.monotonic() - began
            told = f"the loading page after {shown:.1f} s, the dashboard after {entered:.1f} s, rows of the task table after {landed:.1f} s"
            sys.stdout.write(f"{given.tasks:,} tasks, {attempts:,} attempts in the job of the link: {told}\n")
            return int(page.url != link)


if __name__ == "__main__":
    sys.exit(main())
