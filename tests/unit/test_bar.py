"""The bar above the dashboard of a recorded session."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from api.pages.bar import with_bar
from api.pages.session_facts import SessionEnd, SessionFacts
from shared.sessions import SessionRef

REF = SessionRef("default", "rayjob", "rj-demo", "session_2026-11-23_19-08-07_927634_1")
START, END = 1795460887000, 1795461007000
PAGE = "<!doctype html><html><head lang=en><title>Ray</title></head><body class=x><div id=root></div></body></html>"


def _told(**facts: Any) -> str:
    """What a person reads in the bar."""
    page = with_bar(PAGE, SessionFacts(REF, "rj-demo-x7k2p", **facts), "../", "")
    bar = re.search(r"<section.*</section>", page, re.DOTALL)
    assert bar
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bar[0])).split())


def test_it_says_whose_session_it_is_and_when_it_ran() -> None:
    told = _told(end=SessionEnd(START, END, in_order=True, nodes_alive=0))
    assert "All sessions rj-demo-x7k2p RayJob rj-demo in default session_2026-11-23_19-08-07_927634_1" in told
    assert "2026-11-23 19:08:07 to 19:10:07 UTC (0:02:00)" in told
    assert "shut down in order complete Load again" in told


@pytest.mark.parametrize(
    ("end", "continued", "how"),
    [
        (SessionEnd(START, END, in_order=True, nodes_alive=1), True, "shut down in order"),
        (SessionEnd(START, END, in_order=False, nodes_alive=3), False, "cluster deleted or head lost with 3 nodes alive"),
        (
            SessionEnd(START, END, in_order=False, nodes_alive=1),
            True,
            "head lost with 1 node alive; the cluster went on in a later session",
        ),
        (None, False, "cluster deleted or head lost"),
    ],
)
def test_it_says_how_the_session_ended(end: SessionEnd | None, continued: bool, how: str) -> None:
    assert how in _told(end=end, continued=continued)


def test_it_says_what_still_ran() -> None:
    assert "still running then: 1 job, 1,200 tasks" in _told(running={"job": 1, "task": 1200})
    assert "running" not in _told()


def test_it_names_what_is_missing_and_why() -> None:
    told = _told(losses=[("a/node_events/<x>.jsonl", "is cut off")], loss_count=3)
    assert "partial: 3 files missing a/node_events/<x>.jsonl : is cut off and 2 more" in told
    assert " complete" not in told


def test_nothing_in_a_session_s_data_is_markup() -> None:
    page = with_bar(PAGE, SessionFacts(REF, 'x"><script>', losses=[("<b>", "&\\1")], loss_count=1), "../", "")
    assert 'x"><script>' not in page
    assert "<b>" not in page
    assert "&amp;\\1" in page


def test_the_script_is_told_when_the_session_ended() -> None:
    page = with_bar(PAGE, SessionFacts(REF, "rj", end=SessionEnd(START, END, in_order=True, nodes_alive=0)), "../", "http://grafana")
    found = re.search(r'<meta name="ray-history-session" content="([^"]*)">', page)
    assert found
    told = json.loads(html.unescape(found[1]))
    assert told == {"title": "rj 2026-11-23 19:08", "start": START, "now": END, "grafana": "http://grafana"}
    assert page.index("<head lang=en>") < found.start() < page.index("<title>")


def test_a_page_without_head_or_body_stays_as_it_is() -> None:
    assert with_bar("<p>flames</p>", SessionFacts(REF, "rj"), "../", "") == "<p>flames</p>"
