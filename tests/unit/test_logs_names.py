"""Which names a node's logs have, which of them a pattern or a path means, and their categories."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from api.dashboard.logs.names import BadGlob, below_logs, categories, matching, names_below, normal, shown_path
from shared.storage.port import ObjectInfo

SESSION = "session_2026-11-23_19-00-40_785172_1"
NAMES = [
    "events/",
    "events/event_GCS.log",
    "old/",
    "old/worker-a-01-7.out",
    "raylet.out",
    "serve/",
    "serve/deep/",
    "serve/deep/x.log",
    ".hidden",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["events/", "old/", "raylet.out", "serve/", ".hidden"]),
        ("*/", ["events/", "old/", "serve/"]),
        ("*.log", []),
        ("events/*", ["events/event_GCS.log"]),
        ("events/**", ["events/", "events/event_GCS.log"]),
        ("**/*.log", ["events/event_GCS.log", "serve/deep/x.log"]),
        ("serve/**/x.log", ["serve/deep/x.log"]),
        ("serve/**/**/deep/**/x.log", ["serve/deep/x.log"]),
        ("**", NAMES),
        ("**/", ["events/", "old/", "serve/", "serve/deep/"]),
        ("raylet.???", ["raylet.out"]),
        ("raylet.??", []),
        ("[!r.]*", ["events/", "old/", "serve/"]),
        ("./raylet.*", ["raylet.out"]),
        ("[", []),
        ("nomatch*", []),
    ],
)
def test_a_pattern_matches_as_pathlib_does(pattern: str, expected: list[str]) -> None:
    assert matching(pattern, NAMES) == expected


@pytest.mark.parametrize(
    "pattern", ["*", "*.log", "events/*", "*/*", "*/*/*.log", "[a-r]*", "[!a-r]*", "ev?nts", "./*", "a\\b", "**/*.log", "*/"]
)
def test_pathlib_itself_agrees(pattern: str, tmp_path: Path) -> None:
    for name in NAMES:
        if not name.endswith("/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    found = {path.relative_to(tmp_path).as_posix() + ("/" if path.is_dir() else "") for path in tmp_path.glob(pattern)}
    assert set(matching(pattern, NAMES)) == found


@pytest.mark.parametrize("pattern", ["", "/", "/etc/*", "../*", "a/../../b", "a\0", ".", "x" * 5000])
def test_a_pattern_that_live_refuses_is_told(pattern: str) -> None:
    with pytest.raises(BadGlob):
        matching(pattern, NAMES)


@pytest.mark.parametrize("pattern", ["*a" * 300 + "*b", "**/*a/" * 100 + "b", "[a" * 300])
def test_no_pattern_takes_long(pattern: str) -> None:
    names = ["a" * 200, "/".join(["a"] * 100)]
    started = time.process_time()
    assert matching(pattern, names) == []
    assert time.process_time() - started < 1.0


def test_many_stars_in_a_row_take_no_longer_than_two() -> None:
    names = [f"worker-{number}.out" for number in range(300)]
    started = time.process_time()
    assert matching("**/" * 340 + "*", names) == names
    assert time.process_time() - started < 1.0


def test_names_are_those_of_files_and_of_the_directories_that_hold_them() -> None:
    keys = ["raylet.out", "serve/deep/x.log", "packed.log.gz", "empty/", "", "../out", "a//b", "a/./b", "x" * 2000]
    assert names_below("p/logs/", [ObjectInfo("p/logs/" + key, 1) for key in keys]) == [
        "empty/",
        "packed.log.gz",
        "raylet.out",
        "serve/",
        "serve/deep/",
        "serve/deep/x.log",
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("raylet.out", "raylet.out"),
        ("./raylet.out", "raylet.out"),
        ("serve//x.log/", "serve/x.log"),
        ("serve/../raylet.out", "raylet.out"),
        ("../../etc/passwd", None),
        ("..", None),
        ("", None),
        ("a\0b", None),
        ("x" * 2000, None),
        ("ö" * 500, None),
        ("/etc/passwd", None),
        (f"/tmp/ray/{SESSION}/logs/worker-1.out", "worker-1.out"),
        (f"/data/ray/{SESSION}/logs/old/worker-1.out", "old/worker-1.out"),
        (f"/tmp/ray/{SESSION}/logs/../../x", None),
        (f"/tmp/ray/{SESSION}/logs/", None),
        ("/tmp/ray/session_2026-11-23_19-00-40_785172_2/logs/worker-1.out", None),
    ],
)
def test_a_path_leads_below_the_logs_or_nowhere(asked: str, found: str | None) -> None:
    assert below_logs(asked, SESSION) == found
    assert found is None or normal(found) == found


def test_errors_name_the_path_that_live_would_have_looked_at() -> None:
    assert shown_path("nope.log", SESSION) == f"/tmp/ray/{SESSION}/logs/nope.log"
    assert shown_path("../../etc/passwd", SESSION) == "/tmp/ray/etc/passwd"
    assert shown_path("/etc/passwd", SESSION) == "/etc/passwd"


def test_every_name_has_the_category_that_live_gives_it() -> None:
    assert categories(
        [
            "worker-a-01-7.out",
            "worker-a-01-7.err",
            "python-core-worker-a_7.log",
            "python-core-driver-a_7.log",
            "raylet.err",
            "gcs_server.out",
            "log_monitor.err",
            "monitor.log",
            "dashboard_agent.log",
            "dashboard.log",
            "dashboard_JobHead.log",
            "events/",
        ]
    ) == {
        "worker_out": ["worker-a-01-7.out"],
        "worker_err": ["worker-a-01-7.err"],
        "core_worker": ["python-core-worker-a_7.log"],
        "driver": ["python-core-driver-a_7.log"],
        "raylet": ["raylet.err"],
        "gcs_server": ["gcs_server.out"],
        "internal": ["log_monitor.err", "dashboard_JobHead.log", "events/"],
        "autoscaler": ["monitor.log"],
        "agent": ["dashboard_agent.log"],
        "dashboard": ["dashboard.log"],
    }
