"""The query string of a log: what live takes, and what it fails for."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from api.dashboard.logs.content import ALL_LINES
from api.dashboard.logs.options import BadOptions, log_options

NODE = "2a" * 28


def test_defaults_are_those_of_live() -> None:
    options = log_options("file", QueryParams({"node_id": NODE, "filename": "raylet.out"}))
    assert (options.lines, options.suffix, options.attempt_number, options.pid) == (1000, "out", 0, None)
    assert options.download_filename == "file.txt"
    assert not options.filter_ansi_code


@pytest.mark.parametrize(("given", "lines"), [("7", 7), ("-1", ALL_LINES), ("0", 1000), ("50000", 50_000)])
def test_lines(given: str, lines: int) -> None:
    assert log_options("file", QueryParams({"node_id": NODE, "filename": "x", "lines": given})).lines == lines


@pytest.mark.parametrize(
    ("media_type", "query"),
    [
        ("file", ""),
        ("file", f"node_id={NODE}"),
        ("file", "filename=raylet.out"),
        ("file", f"node_id={NODE}&node_ip=10.0.0.1&filename=x"),
        ("file", f"node_id={NODE}&filename=x&lines=abc"),
        ("file", f"node_id={NODE}&filename=x&lines="),
        ("file", f"node_id={NODE}&filename=x&suffix=foo"),
        ("file", f"node_id={NODE}&filename=x&timeout=soon"),
        ("file", f"node_id={NODE}&filename=x&interval=1"),
        ("file", f"node_id={NODE}&pid=abc"),
        ("file", f"node_id={NODE}&pid="),
        ("file", "task_id=ab&attempt_number=first"),
        ("stream", f"node_id={NODE}&filename=x&interval=often"),
        ("bogus", f"node_id={NODE}&filename=x"),
        ("file", f"node_id={NODE}&filename=x&lines=" + "9" * 5000),
    ],
)
def test_what_live_fails_for(media_type: str, query: str) -> None:
    with pytest.raises(BadOptions):
        log_options(media_type, QueryParams(query))


@pytest.mark.parametrize(
    ("media_type", "query"),
    [
        ("stream", f"node_id={NODE}&filename=x&interval=0.5"),
        ("file", "actor_id=ab"),
        ("file", "task_id=ab&attempt_number=2&filter_ansi_code=TRUE"),
        ("file", "submission_id=raysubmit_1"),
        ("file", "node_ip=10.0.0.1&pid=7"),
    ],
)
def test_what_live_takes(media_type: str, query: str) -> None:
    assert log_options(media_type, QueryParams(query)) == log_options(media_type, QueryParams(query + "&unknown=1"))
