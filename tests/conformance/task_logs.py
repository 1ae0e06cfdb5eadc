"""The log of every task, one by one: its own lines as live's row places them in the stored file, or an error that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from shared.layout import session_prefix
from shared.sessions import Session
from tests.conformance.recording import Recording
from tests.conformance.replay import Server


@dataclass
class TaskLogs:
    """How many of which kind, and what is wrong."""

    own: int = 0
    refused: list[str] = field(default_factory=list)
    """Attempts of which live knows where their lines are, and which got an error."""
    wrong: list[str] = field(default_factory=list)


def check_task_logs(server: Server, recording: Recording, bucket: Path, session: Session) -> TaskLogs:
    """Asks for both files of every normal task; `bucket` holds the stored ones."""
    found = TaskLogs()
    directory = bucket / session_prefix(session)
    for row in recording.rows["tasks"]:
        if row["type"] != "NORMAL_TASK":
            continue
        for suffix in ("out", "err"):
            _check(found, server, directory, row, suffix)
    return found


def _check(found: TaskLogs, server: Server, directory: Path, row: dict[str, Any], suffix: str) -> None:
    which = f"{row['task_id']}({row['attempt_number']}).{suffix}"
    query = httpx.QueryParams(task_id=row["task_id"], attempt_number=row["attempt_number"], suffix=suffix, lines=-1)
    answer = server.get(f"/api/v0/logs/file?{query}")
    expected = _lines(directory, row, suffix)
    if answer.status_code == 404 and answer.text.strip():
        if expected is not None:
            found.refused.append(f"{which}: {answer.text}")
    elif answer.status_code != 200:
        found.wrong.append(f"{which}: {answer.status_code} {answer.text[:200]}")
    elif expected is None:
        # Live knows of no lines: no marker of a task may be among those served.
        if b":task_name:" in answer.content:
            found.wrong.append(f"{which}: nobody knows these lines to be its own: {answer.text[:200]!r}")
    elif answer.content == expected or (_open(row, suffix) and answer.content.startswith(expected)):
        found.own += 1
    else:
        found.wrong.append(f"{which}: {answer.text[:200]!r} instead of {expected.decode(errors='replace')[:200]!r}")


def _lines(directory: Path, row: dict[str, Any], suffix: str) -> bytes | None:
    """What live's `task_log_info` means; None where it tells nothing, or the file was not stored."""
    info = row["task_log_info"] or {}
    name, start, end = (info.get(f"std{suffix}_{part}") for part in ("file", "start", "end"))
    for file in _stored(directory, row["node_id"], name):
        return file.read_bytes()[int(start or 0) : None if end is None else int(end)]
    return None


def _open(row: dict[str, Any], suffix: str) -> bool:
    """Did it still write when it was recorded?"""
    return (row["task_log_info"] or {}).get(f"std{suffix}_end") is None


def _stored(directory: Path, node_id: str | None, name: str | None) -> Iterator[Path]:
    if node_id and name:
        short = Path(name).name
        for place in (short, f"old/{short}"):
            if (file := directory / node_id / "logs" / place).is_file():
                yield file
