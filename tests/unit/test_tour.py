"""The tour of the code names modules and functions that exist, and its journeys stay short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "tour.md").read_text()
PLACES = sorted(set(re.findall(r"`((?:api|workers|shared)/[\w/]+\.py)`(?:, `(\w+)`)?", TOUR)))
MOST_MODULES = {"enters": 12, "becomes": 10, "reads": 8}


@pytest.mark.parametrize(("module", "name"), PLACES, ids="/".join)
def test_what_it_names_is_there(module: str, name: str) -> None:
    code = (ROOT / module).read_text()
    assert not name or re.search(rf"^ *(?:async )?(?:def|class) {name}\b", code, re.MULTILINE)


@pytest.mark.parametrize(("verb", "most"), MOST_MODULES.items())
def test_a_journey_is_short(verb: str, most: int) -> None:
    (journey,) = re.findall(rf"^## [^\n]*\b{verb}\b[^\n]*\n(.*?)(?=^## |\Z)", TOUR, re.MULTILINE | re.DOTALL)
    assert 0 < len(re.findall(r"^\d+\. ", journey, re.MULTILINE)) <= most
