"""Numbers that the pages of a recorded session show, beside those of the live dashboard's answers in the same build:

python -m tests.browser.numbers URL LIVE_DIR NAMESPACE/KIND/NAME/SESSION [--build 2.60.0]

URL is a running server with that build alone; LIVE_DIR holds the `index.json` of the session. Prints every word with a digit that only one shows.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext

from api.pages.session_facts import SessionEnd, SessionFacts
from shared.sessions import SessionRef
from tests.browser.chromium import chromium, fetched_builds
from tests.browser.live import recorded_live
from tests.browser.walk import Answers, Stop, Walker, stops
from tests.conformance.recording import Recording

# Words with a digit in them: counts, durations, times, sizes, ids.
_NUMBER = re.compile(r"\S*\d\S*")
# Questions of every page that say nothing of the session: recorded as failures, or not at all.
_BESIDE = re.compile(r"(grafana|prometheus)_health|platform_events|ray_history|authentication_mode|profiling_enabled|redaction|usage_stats")
_GAUGE = "sampled from a running host by the dashboard agent, never stored"
# What may differ: (pages, pattern of the word, why).
EXCUSED = ((r"cluster|node", r"^\(?[\d.]+%\)?$|[\d.]+[KMGT]?B(/s)?|^\d+/$|^[\d./]+$|%\)?$|^0$", _GAUGE),)


@dataclass(slots=True)
class Compared:
    """Words with digits: how many were equal, and which only one of the two showed, by page.

    `left_out`: pages that asked what nobody recorded, or that live itself could not show.
    """

    equal: int = 0
    differences: list[str] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)


def compare(context: BrowserContext, served: str, live: str, *, most: int = 1) -> Compared:
    """Both addresses end in a slash."""
    ours, theirs = Walker(context, served), Walker(context, live)
    compared = Compared()
    for stop in (Stop(stop.name, stop.route) for stop in stops(Answers(served), most=most)):
        expected = theirs.visit(stop, fresh=True)
        if any(not _BESIDE.search(trouble) for trouble in expected.troubles):
            compared.left_out.append(stop.name)
            continue
        shown = ours.visit(stop)
        _count(compared, stop, Counter(_NUMBER.findall(shown.text)), Counter(_NUMBER.findall(expected.text)))
    return compared


def _count(compared: Compared, stop: Stop, served: Counter[str], live: Counter[str]) -> None:
    compared.equal += (served & live).total()
    for who, words in (("served", served - live), ("live", live - served)):
        for word, count in words.items():
            why = next((why for pages, pattern, why in EXCUSED if re.match(pages, stop.name) and re.search(pattern, word)), None)
            if why:
                compared.excused[why] += count
            else:
                compared.differences.append(f"{stop.name} {stop.route}: only {who}: {word} x {count}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.numbers", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("url")
    parser.add_argument("live", type=Path)
    parser.add_argument("ref", type=SessionRef.parse)
    parser.add_argument("--build", default="2.60.0")
    given = parser.parse_args()
    served = f"{given.url}/sessions/{given.ref}/dashboard/"
    page = httpx.get(served, headers={"Accept": "text/html"}, timeout=60).text
    found = re.search(r'name="ray-history-session" content="([^"]*)"', page)
    if not found:
        parser.error(f"{given.ref} is not loaded at {given.url}")
    told = json.loads(html.unescape(found[1]))
    end = SessionEnd(told["start"], told["now"], in_order=False, nodes_alive=0)
    facts = SessionFacts(given.ref, given.ref.name, given.build, end)
    with recorded_live(Recording(given.live), given.ref, facts, fetched_builds([given.build])) as live, chromium() as browser:
        compared = compare(browser.new_context(viewport={"width": 1400, "height": 900}), served, live)
    sys.stdout.writelines(f"{line}\n" for line in compared.differences)
    sys.stdout.write(f"equal: {compared.equal}, excused: {dict(compared.excused)}, left out: {', '.join(compared.left_out) or 'none'}\n")
    return int(bool(compared.differences))


if __name__ == "__main__":
    sys.exit(main())
