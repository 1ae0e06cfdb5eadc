"""docs/errors.md: every code that a client may meet has its line there, and no other has."""

from __future__ import annotations

import re
from pathlib import Path

from shared import errors

ROOT = Path(__file__).parents[2]
_GIVEN = re.compile(
    r'(?:problem|_gateway)\(\s*[^,"]*?\d{3}[^,"]*,\s*"(\w+)"'  # answers
    r'|UnreadableFile\("(\w+)"|\.fail\(\s*"(\w+)"|\.loss\([^\n]*?"(\w+_\w+)",|Warned\("(\w+)"'  # loads
    r'|code = "(\w+)" if [^\n]* else "(\w+)"'
)


def _used() -> set[str]:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HistoryError)]
    texts = [path.read_text(encoding="utf-8") for part in ("api", "workers") for path in (ROOT / part).rglob("*.py")]
    return {kind.code for kind in classes} | {code for text in texts for found in _GIVEN.findall(text) for code in found if code}


def test_every_code_has_its_line() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = {code for row in rows for code in re.findall(r"`(\w+)`", row)} | set(re.findall(r"^`(\w+)`", page, re.MULTILINE))
    assert len(_used()) > 25
    assert listed == _used()
