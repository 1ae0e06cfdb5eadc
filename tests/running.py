"""A running `ray-history up` on a bucket, for tests that only ask it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.waiting import wait_until

_STARTED = 300.0
_ENDED = 60.0
_LOADED = 60.0


@contextmanager
def running(bucket: Path, directory: Path, *options: str) -> Iterator[str]:
    """The server's address. What it says and keeps lies in `directory`; settings of the caller's own environment do not count."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_HISTORY_")}
    output = directory / "output"
    command = [sys.executable, "-m", "cli", "up", "--storage", str(bucket), "--data-dir", str(directory / "data"), "--port", "0"]
    with output.open("w") as file:
        process = subprocess.Popen(
            [*command, "--workers", "1", *options], stdout=file, stderr=file, env={**environment, "HOME": str(directory)}
        )
    try:
        wait_until(lambda: "ready at" in output.read_text() or process.poll() is not None, "up", _STARTED)
        address = re.search(r"ready at (http://\S+)", output.read_text())
        assert address, output.read_text()
        yield address[1]
    finally:
        process.terminate()
        try:
            process.wait(_ENDED)
        finally:
            process.kill()


def load(address: str, ref: str) -> None:
    """Have a session loaded, and wait until it is."""
    with httpx.Client(base_url=address) as client:
        client.post(f"/sessions/{ref}/load").raise_for_status()
        wait_until(lambda: client.get(f"/sessions/{ref}").json()["state"] in ("loaded", "failed"), f"load of {ref}", _LOADED)
        record = client.get(f"/sessions/{ref}").json()
        assert record["state"] == "loaded", record
