"""Every number that a page of a recorded session shows is the one that the same page shows with the live dashboard's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext

from tests.browser.conftest import BUILDS, Use
from tests.browser.live import recorded_live
from tests.browser.numbers import compare, facts_of
from tests.browser.walk import Answers, stops
from tests.conformance.recording import Recording
from tests.conformance.sessions import SESSIONS

# Pages with numbers of the session; the rest of them show logs, or nothing without a Grafana.
PAGES = ("overview", "jobs", "cluster", "actors", "job", "job actors", "node", "actor", "job actor", "task", "serve")


def test_numbers_are_those_of_the_live_dashboard(
    tab: BrowserContext, loaded: Callable[[str], str], recorded: Path, builds: Path, use_build: Use
) -> None:
    use_build(BUILDS[-1])
    cluster, ref = SESSIONS["rich"]
    served = loaded(str(ref))
    recording = Recording(recorded / "live" / cluster / ref.session)
    chosen = [stop for stop in stops(Answers(served), most=1) if stop.name in PAGES]
    with recorded_live(recording, ref, facts_of(served, ref, BUILDS[-1]), builds) as live:
        compared = compare(tab, served, live, chosen, recording)
    assert compared.differences == []
    assert compared.pages >= 14, compared.left_out
    assert compared.equal > 700
