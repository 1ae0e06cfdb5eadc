"""All benchmarks: `python -m benchmarks [--quick] [--only NAME] [--json FILE] [--docs DIR]`.

Sessions are generated once into `.bench` (6 GB; `--quick`: 0.6 GB). Reaching a bar or not, the exit code is 0: bars are for people.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import cold_loads, exports, job_index, memory, page, reads, small_loads
from benchmarks.bench import FULL, QUICK, Bench, say
from benchmarks.report import Report, Row
from benchmarks.server import running
from shared.settings import StorageSettings

MEASURES: dict[str, Callable[[Bench], list[Row]]] = {
    "memory": memory.idle,
    "burst": memory.after_a_burst,
    "recorded": cold_loads.recorded_session,
    "small-loads": small_loads.from_s3,
    "cold-load": cold_loads.medium_session,
    "small-files": cold_loads.small_files,
    "large": cold_loads.large_session,
    "fairness": cold_loads.small_beside_large,
    "page": reads.page_of_tasks,
    "timeline": reads.timeline,
    "one-task": reads.one_task,
    "not-modified": reads.not_modified,
    "summaries": reads.summaries,
    "exports": exports.parquet_of_tasks,
    "overview": reads.overview,
    "jobs": job_index.jobs_of_all_sessions,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sessions: under two minutes, once they are generated")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="only this measure; may be repeated")
    parser.add_argument("--json", type=Path, help="write the figures here, with all details")
    parser.add_argument("--docs", type=Path, help="write performance.md and performance.json into this directory")
    parser.add_argument("--cache", type=Path, default=Path(".bench"), help="where generated sessions are kept")
    given = parser.parse_args()
    report = Report(" ".join(["python -m benchmarks", *["--quick"] * given.quick, *(f"--only {name}" for name in given.only or ())]))
    cache = given.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "bucket").mkdir(exist_ok=True)
    bucket = StorageSettings(storage=(cache / "bucket").as_uri())
    with tempfile.TemporaryDirectory(dir=cache) as directory, running(bucket, Path(directory), workers=2) as server:
        bench = Bench(QUICK if given.quick else FULL, cache, Path(directory), server)
        for name, measure in MEASURES.items():
            if not given.only or name in given.only:
                began = time.perf_counter()
                say(f"{name} ...")
                report.rows += measure(bench)
                say(f"  ({time.perf_counter() - began:.0f} s)")
    print(report.text())
    if given.json:
        report.write_json(given.json)
    if given.docs:
        report.write_json(given.docs / "performance.json")
        (given.docs / "performance.md").write_text(page.text(report))


if __name__ == "__main__":
    main()
