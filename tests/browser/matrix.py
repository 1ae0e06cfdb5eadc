"""Every page of the Ray dashboard for every recorded session in every build, as a table:

python -m tests.browser.matrix [--bucket DIR]... [--builds V,V] [--sessions WORD,WORD] [--most N] [--write docs/dashboard-pages.md]

Without --bucket: the project's own recorded sessions. Ends with 1 when a page is white, throws, or asks in vain. `make browser-matrix`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.browser.chromium import chromium, fetched_builds
from tests.browser.walk import LIVE_FAILS, Answers, Visit, Walker, stops
from tests.data.recorded import unpack
from tests.running import load, running

BUILDS = ("2.53.0", "2.55.1", "2.56.0", "2.58.0", "2.60.0")
_MARK = "<!-- below: written by make browser-matrix -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.matrix", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--bucket", type=Path, action="append", help="sessions as a collector stored them")
    parser.add_argument("--builds", default=",".join(BUILDS))
    parser.add_argument("--sessions", default="", help="only those whose reference holds one of these words")
    parser.add_argument("--most", type=int, default=1, help="pages of one entity at most, per state")
    parser.add_argument("--write", type=Path, help="put the table at the end of this page")
    given = parser.parse_args()
    versions = given.builds.split(",")
    builds = fetched_builds(versions)
    rows: dict[str, dict[str, list[Visit]]] = {}
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        for number, bucket in enumerate(given.bucket or [unpack(Path(scratch) / "recorded", only="bucket") / "bucket"]):
            rows |= _walked(browser, bucket, builds, versions, given, Path(scratch) / f"up-{number}")
    table = _table(rows, versions)
    sys.stdout.write(table)
    if given.write:
        before = given.write.read_text().partition(_MARK)[0] if given.write.exists() else ""
        given.write.write_text(f"{before}{_MARK}\n\n{table}")
    return int(any(visit.troubles for of_builds in rows.values() for visits in of_builds.values() for visit in visits))


def _walked(
    browser: Browser, bucket: Path, builds: Path, versions: list[str], given: argparse.Namespace, directory: Path
) -> dict[str, dict[str, list[Visit]]]:
    pages = directory / "pages"
    pages.mkdir(parents=True)
    rows: dict[str, dict[str, list[Visit]]] = {}
    with running(bucket, directory, "--dashboard-dir", str(pages)) as address:
        for session in httpx.get(f"{address}/sessions", params={"limit": 1000}).json()["sessions"]:
            ref = session["ref"]
            if not any(word in ref for word in given.sessions.split(",")):
                continue
            load(address, ref)
            base = f"{address}/sessions/{ref}/dashboard/"
            version = httpx.get(f"{base}api/version").json().get("ray_version") or "?"
            for build in versions:
                for link in pages.iterdir():
                    link.unlink()
                (pages / build).symlink_to(builds / build)
                context = browser.new_context(viewport={"width": 1400, "height": 900})
                walker = Walker(context, base)
                visits = [walker.visit(stop) for stop in stops(Answers(base), most=given.most)]
                context.close()
                rows.setdefault(f"{ref} (Ray {version})", {})[build] = visits
                for visit in visits:
                    for trouble in visit.troubles:
                        sys.stderr.write(f"{ref} {build} {visit.stop.name} {visit.stop.route}: {trouble}\n")
    return rows


def _table(rows: dict[str, dict[str, list[Visit]]], versions: list[str]) -> str:
    lines = [f"| session | {' | '.join(versions)} |", f"| --- |{' --- |' * len(versions)}"]
    for session, of_builds in sorted(rows.items()):
        cells = [_cell(of_builds[version]) for version in versions]
        lines.append(f"| {session} | {' | '.join(cells)} |")
    lines += ["", "Requests that fail here because they fail on the live dashboard, too:", ""]
    lines += [f"- `{pattern}`: {why}" for pattern, why in LIVE_FAILS]
    return "\n".join(lines) + "\n"


def _cell(visits: list[Visit]) -> str:
    wrong = sum(bool(visit.troubles) for visit in visits)
    return f"{len(visits)} pages, {wrong} wrong"


if __name__ == "__main__":
    sys.exit(main())
