"""The permissions that docs/live-clusters.md lists are those that are used: all of them, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response

from shared.errors import SessionIsLive
from shared.live.factory import open_live
from shared.live.resolver import ensure_dead
from shared.sessions import Session
from tests.live_kubernetes.objects import ray_service, token_secret
from tests.live_kubernetes.proxying import create_app
from tests.live_kubernetes.serving import serving
from tests.live_kubernetes.world import RUNNING, World, world

DOCS = Path(__file__).parents[2] / "docs" / "live-clusters.md"
Permission = tuple[str, str, str]


def documented(who: str, access: str) -> set[Permission]:
    """(verb, group, resource) of the table "RBAC" for `api` or `worker`."""
    section = DOCS.read_text().split("\n## RBAC")[1].split("\n## ")[0]
    found: set[Permission] = set()
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 5 or not cells[1].startswith("`"):
            continue
        group, resource, verbs, users, _ = cells
        if who in users.split(", ") and (resource != "`services/proxy`" or access == "apiserver"):
            found |= {(verb, group.strip("`"), resource.strip("`")) for verb in re.findall(r"`(\w+)`", verbs)}
    return found


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """A token cluster, and a RayService in the middle of an upgrade."""
    with world(tmp_path) as w:
        w.head.token = "secret"
        w.add_cluster(auth={"mode": "token"})
        w.api.put(token_secret("raycap", "secret"))
        for name, created in (("old", "2026-11-23T10:00:00Z"), ("new", "2026-11-23T12:00:00Z")):
            w.add_cluster(name, created=created, owner=("RayService", "boss"), auth={"mode": "token", "secretName": "raycap"})
        w.api.put(ray_service("boss", active="old", pending="new"))
        yield w


def used(w: World) -> set[Permission]:
    return {(asked.verb, asked.group, asked.resource) for asked in w.api.requests}


def as_the_api(w: World, access: str) -> None:
    with (
        serving(create_app(w.settings(dashboard_access=access)), lifespan="on") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        assert client.get(f"/sessions/default/raycluster/raycap/{RUNNING}/dashboard/api/version").json()["session_name"] == RUNNING
        assert client.get("/sessions/default/rayservice/boss/live/dashboard/api/version").json()["session_name"] == RUNNING
        assert f"default/raycap {RUNNING}" in client.get("/-/running").text.splitlines()
        assert client.head("/api/version").status_code == 200


def as_the_worker(w: World, access: str) -> None:
    settings = w.settings(dashboard_access=access)
    directory, heads = open_live(settings)
    try:
        with pytest.raises(SessionIsLive):
            ensure_dead(Session("default", "raycap", RUNNING), directory, heads, settings)
    finally:
        directory.close()


USERS = {"api": as_the_api, "worker": as_the_worker}


@pytest.mark.parametrize("access", ["service", "apiserver"])
@pytest.mark.parametrize("who", USERS)
def test_what_is_documented_is_enough_and_is_used(w: World, who: str, access: str) -> None:
    w.api.allowed = documented(who, access)
    USERS[who](w, access)
    assert used(w) == documented(who, access)


def test_methods_that_change_something_need_verbs_of_their_own(w: World) -> None:
    with (
        serving(create_app(w.settings(dashboard_access="apiserver", proxy_methods="GET,POST,PUT,PATCH,DELETE")), lifespan="on") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            client.request(method, "/api/jobs/", content=b"{}")
    verbs = {verb for verb, _, resource in used(w) if resource == "services/proxy"}
    row = next(line for line in DOCS.read_text().splitlines() if "`services/proxy`" in line)
    assert verbs == set(re.findall(r"`(create|update|patch|delete)`", row))


@pytest.mark.parametrize("allowed", [True, False])
def test_the_script_for_a_real_cluster(w: World, allowed: bool) -> None:
    w.head.routes["/api/v0/cluster_metadata"] = lambda _: Response("{}")
    if not allowed:
        w.api.allowed = documented("api", "apiserver") - {("get", "ray.io", "rayservices")}
    script = Path(__file__).parents[1] / "real_cluster.py"
    command = [sys.executable, str(script), "--kubeconfig", w.api.kubeconfig(w.directory), "--apiserver", "--watch", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count(RUNNING) == 3, done.stdout + done.stderr
    assert done.stdout.count("GET /api/v0/cluster_metadata: 200") == 3
    # An API process has no need to read one RayCluster; the script checks for both.
    assert re.findall(r"MAY NOT\s*(\w+\s+\S+)", done.stdout) == ([] if allowed else ["get   rayclusters", "get   rayservices"])
    assert done.returncode == (0 if allowed else 1)
