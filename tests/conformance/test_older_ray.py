"""Sessions of older versions of Ray are answered for as their own dashboards did; what they did not export is named, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.sessions import Session, SessionRef
from tests.conformance.recording import Recording
from tests.conformance.replay import Score, Server, replay
from tests.conformance.sessions import OLDER
from tests.conformance.task_logs import check_task_logs
from tests.conformance.test_answers import LEAF_FLOOR, TAG_FLOOR, TAGS
from tests.data.recorded import unpack_older
from tests.running import running

RIGHT_FLOOR = 95.0
# Where answers of a kind differ: the path, in how many leaves at most, and why.
KNOWN = {
    r"data\.(actors\.@|detail|detail\.actors\.@)\.address\.port": (
        2,
        "the port of a raylet that was asked for an actor that never started",
    ),
    r"(#\.|data\.result\.result\.#\.)?entrypoint": (3, "that of a job whose runtime environment could not be set up: it never ran"),
    r"data\.result\.result\.node_id_to_summary\.cluster\.summary\..*timestamp": (4, "live takes any attempt of a task that has several"),
}

# Kinds of answers that are not compared: 2.54 exports one profile span a flush.
WITHOUT = {"2.55": (), "2.54": ("timeline",)}
# Files of tasks that live knew lines of: each must be served, and equal to what live's row says.
TASK_LOGS = {("2.55", "service"): 904, ("2.55", "night"): 188, ("2.54", "killed"): 36}


class Older:
    """Servers on the archives of older versions, each started once."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._servers: dict[str, tuple[str, Path]] = {}

    def session(self, version: str, name: str) -> tuple[Server, Recording, Path, Session]:
        """The server, seen through one session; what was recorded; the bucket; the session."""
        address, folder = self._server(version)
        cluster, ref = OLDER[version][name]
        server = self._stack.enter_context(Server(address, ref, "path"))
        return server, Recording(folder / "live" / cluster / ref.session), folder / "bucket", _session(cluster, ref)

    def _server(self, version: str) -> tuple[str, Path]:
        if version not in self._servers:
            home = self._directory / version
            folder = unpack_older(home / "recorded", version)
            (home / "up").mkdir()
            self._servers[version] = self._stack.enter_context(running(folder / "bucket", home / "up")), folder
        return self._servers[version]


def _session(cluster: str, ref: SessionRef) -> Session:
    owner = () if ref.kind == "raycluster" else (ref.kind, ref.name)
    return Session(ref.namespace, cluster, ref.session, *owner)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Older]:
    with ExitStack() as stack:
        yield Older(tmp_path_factory.mktemp("older"), stack)


def _unknown(score: Score) -> list[str]:
    """Differences of a tag that no row of KNOWN names, or more of them than it says."""
    lines = []
    for tag, of_tag in sorted(score.tags.items()):
        for path, count in of_tag.differences.items():
            row = next((row for row in KNOWN if re.fullmatch(row, path)), None)
            if row is None or count > KNOWN[row][0]:
                lines.append(f"{tag} {path} ({count}): {of_tag.examples[path]}")
    return lines


@pytest.mark.parametrize(("version", "name"), [(version, name) for version, names in OLDER.items() for name in names])
def test_answers_equal_the_live_ones(older: Older, version: str, name: str) -> None:
    server, recording, bucket, session = older.session(version, name)
    score = replay(server, recording)
    assert not _unknown(score), "\n".join(_unknown(score))
    assert len(score.tags) >= TAGS - len(WITHOUT[version]), sorted(score.tags)
    assert not score.below(TAG_FLOOR), "\n".join(score.below(TAG_FLOOR))
    assert score.percent >= LEAF_FLOOR
    assert score.right >= RIGHT_FLOOR
    # Before 2.58 Ray exports not all of where a task's lines are.
    logs = check_task_logs(server, recording, bucket, session)
    assert not logs.wrong, "\n".join(logs.wrong)
    assert not logs.refused, "\n".join(logs.refused)
    assert logs.own == TASK_LOGS[version, name]
