"""`ray-history prune` on a directory."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.main import run
from shared.collector_documents import announcement_key
from shared.errors import StorageUnavailable
from shared.storage.local_writer import LocalWriter

NOW = datetime.now(UTC)


def add(
    bucket: Path, days: float, *, namespace: str = "ns", cluster: str = "c", last_event: float | None = None, failed: bool = False
) -> str:
    """A session that began so many days ago; its name."""
    name = f"{NOW - timedelta(days=days):session_%Y-%m-%d_%H-%M-%S_%f}_1"
    hour = f"{NOW - timedelta(days=days if last_event is None else last_event):%Y-%m-%d-%H}"
    log = b'{"message": "Completed a ray job x with a status %s."}\n' % (b"FAILED" if failed else b"SUCCEEDED")
    writer = LocalWriter(bucket)
    writer.put(f"cluster-metadata/raycluster/{namespace}_{cluster}/{name}", b"")
    folder = f"cluster-history/raycluster/{namespace}/{cluster}/{name}"
    writer.put(f"{folder}/n/node_events/n-{hour}-1.jsonl.gz", b"x" * 100)
    writer.put(f"{folder}/n/logs/events/event_JOBS.log", log)
    return name


def left(bucket: Path) -> set[str]:
    return {path.name for path in (bucket / "cluster-metadata").rglob("session_*")}


def prune(bucket: Path, *options: str) -> int:
    return run(["prune", "--storage", str(bucket), "--older-than", "90d", *options])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_HISTORY_STORAGE", "")


def test_old_sessions_go_and_what_that_frees_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = add(tmp_path, 100), add(tmp_path, 10)
    assert prune(tmp_path, "--dry-run") == 0
    assert left(tmp_path) == {old, new}
    assert "would free 0.0 MiB in 2 objects of 1 sessions" in capsys.readouterr().out
    assert prune(tmp_path) == 0
    assert left(tmp_path) == {new}
    assert not list((tmp_path / "cluster-history").rglob(f"{old}*"))
    said = capsys.readouterr().out
    assert f"deleted  ns/raycluster/c/{old}" in said
    assert "freed 0.0 MiB in 2 objects of 1 sessions" in said


def test_a_session_that_runs_is_never_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    busy = add(tmp_path, 100, cluster="busy", last_event=1)
    idle = add(tmp_path, 100, cluster="idle")
    monkeypatch.setenv("RAY_HISTORY_ANNOUNCED", "true")
    monkeypatch.setenv("RAY_HISTORY_LIVE_CHECK_TIMEOUT", "0.5")
    said = {"namespace": "ns", "cluster": "idle", "session": idle, "dashboard": "http://127.0.0.1:9", "heartbeat": time.time()}
    LocalWriter(tmp_path).put(announcement_key("ns", "idle"), json.dumps(said).encode())
    assert prune(tmp_path) == 0
    assert left(tmp_path) == {busy, idle}
    assert f"kept     ns/raycluster/idle/{idle}" in capsys.readouterr().out


def test_failed_sessions_and_other_namespaces_may_be_kept(tmp_path: Path) -> None:
    failed, other, gone = add(tmp_path, 100, failed=True), add(tmp_path, 101, namespace="other"), add(tmp_path, 102)
    assert prune(tmp_path, "--keep-failed", "--namespace", "ns") == 0
    assert left(tmp_path) == {failed, other}
    assert gone not in left(tmp_path)


def test_a_session_without_a_marker_goes_too_and_another_layout_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = add(tmp_path, 100), add(tmp_path, 10)
    for marker in (tmp_path / "cluster-metadata").rglob("session_*"):
        marker.unlink()
    LocalWriter(tmp_path).put(f"d_ns/{old}/logs/n/x.log", b"x")
    assert prune(tmp_path) == 0
    assert not list((tmp_path / "cluster-history").rglob(old))
    assert list((tmp_path / "cluster-history").rglob(new))
    assert list((tmp_path / "d_ns").rglob("x.log"))
    assert "of 1 sessions" in capsys.readouterr().out


def test_what_was_interrupted_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = add(tmp_path, 100)
    real, calls = LocalWriter.delete, []

    def breaks(self: LocalWriter, keys: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise StorageUnavailable("away")
        real(self, keys)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(LocalWriter, "delete", breaks)
        assert prune(tmp_path) == 1
    assert left(tmp_path) == {old}
    assert prune(tmp_path) == 0
    assert left(tmp_path) == set()
    assert "away" in capsys.readouterr().err


def test_one_that_can_not_be_deleted_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stays, _ = add(tmp_path, 101, cluster="stays"), add(tmp_path, 100)
    real = LocalWriter.delete

    def refuses(self: LocalWriter, keys: list[str]) -> None:
        if any("/stays/" in key for key in keys):
            raise StorageUnavailable("denied")
        real(self, keys)

    monkeypatch.setattr(LocalWriter, "delete", refuses)
    assert prune(tmp_path) == 1
    assert left(tmp_path) == {stays}
    said = capsys.readouterr()
    assert "of 1 sessions" in said.out
    assert f"failed   ns/raycluster/stays/{stays}  denied" in said.err


@pytest.mark.parametrize("namespace", ["", "*", "a_b"])
def test_what_is_no_namespace_never_means_all_of_them(tmp_path: Path, namespace: str) -> None:
    """`--namespace "$NAMESPACE"` where that is not set."""
    old = add(tmp_path, 100)
    assert prune(tmp_path, "--namespace", namespace) == 2
    assert left(tmp_path) == {old}


@pytest.mark.parametrize("age", ["90", "d", "-1d", "90 days", "", "999999d", "9" * 40 + "h"])
def test_an_age_without_unit_is_refused(tmp_path: Path, age: str) -> None:
    assert run(["prune", "--storage", str(tmp_path), "--older-than", age]) == 2
