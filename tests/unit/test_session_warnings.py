"""What a load says about what it could not know."""

from __future__ import annotations

import pytest

from shared.ray import versions
from workers.session_warnings import session_warnings

ROWS = {"tasks": 3, "jobs": 1, "workers": 2, "actors": 0, "nodes": 1}


def _codes(version: str | None, *, files: int = 5, event_files: int = 5, **rows: int) -> list[str]:
    return [one.code for one in session_warnings(version, files=files, event_files=event_files, rows=ROWS | rows)]


@pytest.mark.parametrize(
    ("version", "codes"),
    [
        ("2.60.0", []),
        ("2.58.1", []),
        ("2.55.1", []),
        ("2.54.1", ["no_profile_spans", "no_task_log_info"]),
        ("2.53.0", ["no_profile_spans", "no_task_log_info", "no_host_names"]),
        ("2.61.0rc1", ["ray_version_unseen"]),
        ("3.0.0.dev0", ["ray_version_unseen"]),
        (None, ["ray_version_unknown"]),
    ],
)
def test_by_version(version: str | None, codes: list[str]) -> None:
    assert _codes(version) == codes


def test_workers_of_old_ray_that_no_log_tells_of() -> None:
    assert _codes("2.55.1", workers=0) == ["no_worker_events"]
    assert _codes("2.60.0", workers=0) == []


def test_a_marker_without_data_and_a_session_without_events() -> None:
    nothing = {"tasks": 0, "jobs": 0, "workers": 0}
    assert _codes(None, files=0, event_files=0, **nothing) == ["no_data"]
    assert _codes("2.60.0", files=1, event_files=0, **nothing) == ["no_events"]
    assert _codes("2.60.0", tasks=0) == ["no_task_events"]
    assert _codes("2.60.0", tasks=0, jobs=0) == [], "an idle cluster"
    assert _codes("2.57.0", nodes=0, jobs=0) == ["no_gcs_events"]


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("2.60.0", "EXPOSABLE_EVENT_TYPES=ALL,"),
        ("2.53.0", "EXPOSABLE_EVENT_TYPES=TASK_DEFINITION_EVENT,"),
        ("2.49.0", "use 2.55 or newer"),
        (None, "Ray before 2.54 does not understand ALL"),
    ],
)
def test_which_setting_brings_events(version: str | None, told: str) -> None:
    (one,) = session_warnings(version, files=1, event_files=0, rows=ROWS)
    assert told in one.message or told.rstrip(",") in one.message
    assert one.tables == []


def test_every_change_has_its_release_and_source() -> None:
    assert all(change.since <= versions.NEWEST and change.source and change.what for change in versions.CHANGES)
    assert [versions.SUMMARY_BY_NAME.in_ray(version) for version in ("2.56.1", "2.57.0", "3.0.0", "", None)] == [
        False,
        True,
        True,
        True,
        True,
    ]
