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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext, Route

from api.pages.session_facts import SessionEnd, SessionFacts
from shared.sessions import SessionRef
from tests.browser.chromium import chromium, fetched_builds
from tests.browser.live import LiveAnswers, recorded_live
from tests.browser.walk import Answers, Stop, Walker, stops
from tests.conformance.recording import Recording

# Durations and times, whole; else words with a digit in them: counts, sizes, ids.
_DURATION = r"(?<!\S)\d+(?:d|h|m|s|ms)(?: \d+(?:h|m|s|ms))*(?!\S)"
_TIME = r"(?:\d{4}[-/]\d\d[-/]\d\d )?\d\d:\d\d:\d\d(?!\S)"
_NUMBER = re.compile(rf"{_DURATION}|{_TIME}|\S*\d\S*")
_PART = re.compile(r"(\d+)(ms|d|h|m|s)")
_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
# Questions of every page that say nothing of the session: recorded as failures, or not at all.
_BESIDE = re.compile(r"(grafana|prometheus)_health|platform_events|ray_history|authentication_mode|profiling_enabled|redaction|usage_stats")
_GAUGE = "sampled from a running host or process, never stored"
_CLOCK = "live's clock and that of the events are some ms apart, and shown times are cut to seconds"
_CLOCKS_MS = 20
# What may differ: (pages, pattern of the word, why).
EXCUSED = (
    ("cluster|node", r"^\(?[\d.]+%\)?$|[\d.]+[KMGT]?i?B(/s)?|^\d+/$|^[\d./]+$|%\)?$|^0$|^\([\d.]+$", _GAUGE),
    ("node", r"^\(\d+\)$|^(1970|\d{4})/\d\d/\d\d \d\d:\d\d:\d\d$", "processes and boot time of a host, never stored"),
    ("logs", r"^[0-9a-f]{56}$|^[\d.]+,$", "a node that was gone by then: its logs are offered here"),
    (r"(job )?actors?", r"^[\d.]*[KMGT]?B?/[\d.]*[KMGT]?B?\([\d.NaN]+%\)$", _GAUGE),
)


@dataclass(slots=True)
class Compared:
    """Words with digits: how many were equal, and which only one of the two showed, by page.

    `left_out`: pages that asked what nobody recorded, or that live itself could not show, and why.
    """

    equal: int = 0
    pages: int = 0
    differences: list[str] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)


def compare(context: BrowserContext, served: str, live: str, chosen: Iterable[Stop], recording: Recording) -> Compared:
    """Both addresses end in a slash. Events that came after live was asked, and logs that live could not give, are left out."""
    late_from, answers, load = recording.late[0] / 1000, LiveAnswers(recording), _cpu_loads(recording)

    def lacks(url: str) -> bool:
        return url.startswith(served) and answers.lacks_log("/" + url.removeprefix(served))

    context.route(re.compile(re.escape(served) + r"events(\?.*)?$"), lambda route: _without_late(route, late_from))
    context.route(lacks, lambda route: route.fulfill(status=200, body="", content_type="text/plain"))
    ours, theirs = Walker(context, served), Walker(context, live)
    compared = Compared()
    for stop in (Stop(stop.name, stop.route) for stop in chosen):
        expected = theirs.visit(stop, fresh=True)
        troubles = [trouble for trouble in expected.troubles if not _BESIDE.search(trouble)]
        if troubles:
            compared.left_out.append(f"{stop.name} {stop.route}: {troubles[0]}")
            continue
        compared.pages += 1
        shown = ours.visit(stop, fresh=True)
        _count(compared, stop, load, Counter(_NUMBER.findall(shown.text)), Counter(_NUMBER.findall(expected.text)))
    return compared


def _without_late(route: Route, late_from: float) -> None:
    answer = route.fetch()
    told = answer.json()
    events = told["data"]["events"]
    early = (
        {job: [event for event in of_job if float(event["timestamp"]) < late_from] for job, of_job in events.items()}
        if isinstance(events, dict)
        else [event for event in events if float(event["timestamp"]) < late_from]
    )
    route.fulfill(response=answer, json=told | {"data": told["data"] | {"events": early}})


def _cpu_loads(recording: Recording) -> set[str]:
    """What the pages of actors show of live's processes."""
    stats = [actor["processStats"] for actor in recording.rows["actors"]]
    return {f"{one['cpuPercent']:g}" for one in stats if one}


def _count(compared: Compared, stop: Stop, loads: set[str], served: Counter[str], live: Counter[str]) -> None:
    compared.equal += (served & live).total()
    ours, theirs = served - live, live - served
    for word in list(ours.elements()):
        near = next((other for other in theirs.elements() if _near(word, other)), None)
        if near is not None:
            ours[word] -= 1
            theirs[near] -= 1
            compared.excused[_CLOCK] += 1
    for who, words in (("served", ours), ("live", theirs)):
        for word, count in (+words).items():
            why = next((why for pages, pattern, why in EXCUSED if re.fullmatch(pages, stop.name) and re.search(pattern, word)), None)
            if who == "live" and "actor" in stop.name and word in loads:
                why = _GAUGE
            if why:
                compared.excused[why] += count
            else:
                compared.differences.append(f"{stop.name} {stop.route}: only {who}: {word} x {count}")


def _near(word: str, other: str) -> bool:
    """Durations, or times of day, that are no further apart than the clocks."""
    if re.fullmatch(_DURATION, word) and re.fullmatch(_DURATION, other):
        # One that shows no ms is cut to seconds.
        cut = 0 if word.endswith("ms") and other.endswith("ms") else 1000
        return abs(_duration_ms(word) - _duration_ms(other)) <= _CLOCKS_MS + cut
    return bool(re.fullmatch(_TIME, word) and re.fullmatch(_TIME, other)) and word[:-8] == other[:-8] and _seconds_apart(word, other) <= 1


def _duration_ms(text: str) -> int:
    return sum(int(amount) * _MS[unit] for amount, unit in _PART.findall(text))


def _seconds_apart(one: str, other: str) -> int:
    def seconds(text: str) -> int:
        hours, minutes, rest = map(int, text[-8:].split(":"))
        return hours * 3600 + minutes * 60 + rest

    return abs(seconds(one) - seconds(other))


def facts_of(served: str, ref: SessionRef, build: str) -> SessionFacts:
    """What the served pages were told: both clocks stand at one time. Raises LookupError for a session that is not loaded."""
    page = httpx.get(served, headers={"Accept": "text/html"}, timeout=60).text
    found = re.search(r'name="ray-history-session" content="([^"]*)"', page)
    if not found:
        raise LookupError(f"{ref} is not loaded")
    told = json.loads(html.unescape(found[1]))
    return SessionFacts(ref, ref.name, build, SessionEnd(told["start"], told["now"], in_order=False, nodes_alive=0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.numbers", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("url")
    parser.add_argument("live", type=Path)
    parser.add_argument("ref", type=SessionRef.parse)
    parser.add_argument("--build", default="2.60.0")
    given = parser.parse_args()
    served = f"{given.url}/sessions/{given.ref}/dashboard/"
    recording = Recording(given.live)
    facts = facts_of(served, given.ref, given.build)
    with recorded_live(recording, given.ref, facts, fetched_builds([given.build])) as live, chromium() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        compared = compare(context, served, live, stops(Answers(served), most=1), recording)
    sys.stdout.writelines(f"{line}\n" for line in [*compared.differences, *(f"left out: {line}" for line in compared.left_out)])
    sys.stdout.write(f"pages: {compared.pages}, equal: {compared.equal}, excused: {dict(compared.excused)}\n")
    return int(bool(compared.differences))


if __name__ == "__main__":
    sys.exit(main())
