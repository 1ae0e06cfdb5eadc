"""Every number that a page of a recorded session shows is the one that the same page shows with the live dashboard's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.conftest import BUILDS, Use
from tests.browser.live import recorded_live
from tests.browser.numbers import compare, facts_of
from tests.browser.walk import Answers, stops
from tests.conformance.recording import Recording
from tests.conformance.sessions import SESSIONS

# Pages with numbers of the session; the rest of them show logs, or nothing without a Grafana.
PAGES = ("overview", "jobs", "cluster", "actors", "job actors", "node", "actor", "serve")


def test_numbers_are_those_of_the_live_dashboard(
    chrome: Browser, loaded: Callable[[str], str], recorded: Path, builds: Path, use_build: Use
) -> None:
    use_build(BUILDS[-1])
    cluster, ref = SESSIONS["rich"]
    served = loaded(str(ref))
    recording = Recording(recorded / "live" / cluster / ref.session)
    # The recorded cluster's own zone: pages that drew a time before they were told of it show the same.
    tab = chrome.new_context(viewport={"width": 1400, "height": 900}, timezone_id="UTC")
    tab.set_default_timeout(60_000)
    chosen = [stop for stop in stops(Answers(served), most=1) if stop.name in PAGES]
    with recorded_live(recording, ref, facts_of(served, ref, BUILDS[-1]), builds) as live:
        compared = compare(tab, served, live, chosen, recording)
    tab.close()
    assert compared.differences == []
    assert compared.pages >= 12, compared.left_out
    assert compared.equal > 400
