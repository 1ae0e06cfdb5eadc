"""The same with a real `ray start --head --proxy-server-url`: `make ray`, with `real_ray.py`. Not part of `make test`: it takes minutes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.browser.test_behind_ray import chosen_and_seen
from tests.browser.test_pages import REF, browser, bucket, build, playwright, server  # noqa: F401
from tests.real_ray import RAY, directory, end_ray, ports, shell  # noqa: F401
from tests.waiting import wait_until

_LONG = 300.0


def test_a_session_is_chosen_and_seen_in_a_real_dashboard(browser: Browser, server: str, directory: Path) -> None:  # noqa: F811
    assert RAY, "RAY_PROGRAM names no ray: `make ray`"
    chosen = ports()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{Path(RAY).parent}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # On a busy machine Ray's own patience is too short.
        "RAY_raylet_start_wait_time_s": "300",
    }
    flags = f"--temp-dir={directory / 'ray'} --num-cpus=1 --object-store-memory=80000000 --min-worker-port=0 --max-worker-port=0"
    address = f"http://127.0.0.1:{chosen['dashboard-port']}"
    httpx.delete(f"{server}/sessions/{REF}").raise_for_status()
    try:
        of_ports = " ".join(f"--{name}={port}" for name, port in chosen.items())
        shell(f"ray start --head --proxy-server-url={server} {flags} {of_ports}", environment)
        with httpx.Client(base_url=address, trust_env=False) as client:
            wait_until(lambda: _answers(client), "the dashboard answers", _LONG)
        assert chosen_and_seen(browser, address) == []
    finally:
        end_ray(directory, signal.SIGKILL)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False
