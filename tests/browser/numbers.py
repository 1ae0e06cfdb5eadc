"""Numbers that the pages of a recorded session show, beside those of the live dashboard's answers in the same build."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext

from tests.browser.walk import Answers, Stop, Walker, stops

# Words with a digit in them: counts, durations, times, sizes, ids.
_NUMBER = re.compile(r"\S*\d\S*")
_GAUGE = "sampled from a running host by the dashboard agent, never stored"
_LATE = "happened after the capture"
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
        if expected.troubles:
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
