"""Our logs: one format for our own records and the standard library's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

_SCRIPT = """
import logging, pathlib, structlog
from shared.logs import set_up_logs
from shared.settings import LogSettings
set_up_logs(LogSettings(log_level="{level}", log_format="{format}"))
structlog.contextvars.bind_contextvars(request_id="r1")
ours, theirs = structlog.get_logger(), logging.getLogger("some.library")
ours.debug("quiet")
ours.info("request", path=pathlib.PurePosixPath("/x"), note='"\\u00fc"', file="\\udcff.log")
theirs.info("their %s", "words")
try:
    1 / 0
except ZeroDivisionError:
    ours.exception("failed")
"""


def _written(level: str, format_: str) -> str:
    script = _SCRIPT.replace("{level}", level).replace("{format}", format_)
    return subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, check=True, text=True).stderr


def _records(level: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(level, "json").splitlines()]


def test_records_of_all_libraries_are_json_lines_with_their_context() -> None:
    ours, theirs, failed = _records("info")
    assert (ours["event"], ours["level"], ours["request_id"], ours["note"]) == ("request", "info", "r1", '"ü"')
    assert ours["file"] == "\udcff.log", "a file's name need not be UTF-8"
    assert "/x" in ours["path"], "what JSON does not know is shown as Python shows it"
    assert (theirs["event"], theirs["logger"], theirs["request_id"]) == ("their words", "some.library", "r1")
    assert (failed["event"], failed["level"]) == ("failed", "error")
    assert "ZeroDivisionError" in failed["exception"]
    assert all(record["timestamp"].endswith("Z") for record in (ours, theirs, failed))


@pytest.mark.parametrize(("level", "events"), [("debug", 4), ("warning", 1)])
def test_less_severe_records_are_left_out(level: str, events: int) -> None:
    assert len(_records(level)) == events


def test_on_a_terminal_records_are_for_people() -> None:
    assert "request" in _written("info", "console")
    assert "{" not in _written("info", "console").splitlines()[0]


def test_a_record_that_cannot_be_written_stops_nobody() -> None:
    script = _SCRIPT.replace("{level}", "info").replace("{format}", "json") + 'print("went on")'
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=full, check=False, text=True)
    assert done.stdout == "went on\n"
