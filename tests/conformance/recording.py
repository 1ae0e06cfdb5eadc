"""One recorded session: live's answers, and what is known about it: when the capture began, what was still open, what changed later."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.conformance.json_tree import MISSING, dig, parse, rows_of, touches

# Files still written to after the capture: the recorded text must be the beginning of the served one.
_GROWING = r"^(raylet|gcs_server|dashboard|monitor|log_monitor|runtime_env_agent|events/)"
RESOURCES = {
    "tasks": "/api/v0/tasks?detail=1&limit=10000&exclude_driver=false",
    "actors": "/logical/actors",
    "workers": "/api/v0/workers?detail=1&limit=10000",
    "nodes": "/nodes?view=summary",
    "jobs": "/api/jobs/",
    "placement_groups": "/api/v0/placement_groups?detail=1&limit=10000",
}
_IDS = ("task_id", "actorId", "worker_id", "raylet.nodeId", "job_id", "submission_id", "placement_group_id")
_DRIVER = "f" * 48


@dataclass(frozen=True, slots=True)
class Answer:
    """One recorded request and live's answer."""

    number: int
    tag: str
    url: str
    headers: dict[str, str]
    status: int
    body: str


class Recording:
    """`directory` holds `index.json` and the answers."""

    def __init__(self, directory: Path) -> None:
        index = json.loads((directory / "index.json").read_text())
        # To the end of the session, not to now.
        self.late: tuple[float, float] = ((index["capture_started"] - 5) * 1000, (index["captured_at"] + 180) * 1000)
        raw = [json.loads((directory / f"{entry['n']:03d}.json").read_text()) for entry in index["requests"]]
        self.answers = [
            Answer(one["n"], one["tag"], one["url"], one["req_headers"], one["status"], one.get("body", ""))
            for one in raw
            if one["method"] == "GET" and one["status"]
        ]
        self.late_counts: Counter[str] = Counter()
        self.late_names: Counter[str] = Counter()
        self.late_ids: set[str] = set()

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Bodies of good answers to requests without headers, by URL."""
        return {one.url: parse(one.body) for one in self.answers if not one.headers and one.status == 200}

    @cached_property
    def rows(self) -> dict[str, list[Any]]:
        return {name: rows_of(self.plain.get(url, MISSING)) for name, url in RESOURCES.items()}

    @cached_property
    def ray_version(self) -> str:
        return str(dig(self.plain.get("/api/version", MISSING), "ray_version"))

    @cached_property
    def attempts(self) -> dict[tuple[str, int], dict[str, Any]]:
        """All recorded task attempts, in detail."""
        return {(row["task_id"], row["attempt_number"]): row for row in self.rows["tasks"]}

    @cached_property
    def lost_nodes(self) -> set[str]:
        """Nodes that were killed."""
        return {
            dig(node, "raylet.nodeId") for node in self.rows["nodes"] if dig(node, "raylet.deathInfo.reason") == "UNEXPECTED_TERMINATION"
        }

    @cached_property
    def _open(self) -> set[str]:
        """Ids and file names of what was still alive at the capture."""
        rows = self.rows
        found = {row["actorId"] for row in rows["actors"] if row["state"] != "DEAD"}
        found |= {row["task_id"] for row in rows["tasks"] if row["state"] not in ("FINISHED", "FAILED")}
        found |= {f"pid {row['pid']}" for row in rows["workers"] if row["is_alive"]}
        for job in rows["jobs"]:
            if job["status"] in ("RUNNING", "PENDING"):
                found |= {job["job_id"], job["submission_id"], f"job-driver-{job['submission_id']}.log"} - {None}
        return found

    def grows(self, url: str) -> bool:
        """Is this the log of something that was still alive when it was recorded?"""
        path, _, query = url.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        about = {asked.get("filename"), asked.get("actor_id"), asked.get("task_id"), f"pid {asked.get('pid', '')}", *path.split("/")}
        return bool(re.search(_GROWING, asked.get("filename", "")) or about & self._open)

    def find_late(self, ask: Callable[[str], str]) -> None:
        """What changed after the capture, by resource, name and id. `ask` gives the served body of a URL."""
        for resource, url in RESOURCES.items():
            served = rows_of(parse(ask(url)))
            changed = [[row for row in rows if touches(row, self.late)] for rows in (served, self.rows[resource])]
            self.late_counts[resource] = max(map(len, changed))
            for row in (*changed[0], *changed[1]):
                self.late_names.update(name for key in ("name", "func_or_class_name", "className") if (name := row.get(key)))
                self.late_ids.update(value for path in _IDS if isinstance(value := dig(row, path), str))
        self.late_counts["workers"] += sum(row["worker_id"].endswith(_DRIVER) for row in self.rows["workers"])
