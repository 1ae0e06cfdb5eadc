"""`ray-history up` beside the stand-in Kubernetes: the whole product, as users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from shared.settings import LiveSettings
from tests.waiting import wait_until

_STARTED = 120.0
_ENDED = 60.0


@dataclass(frozen=True)
class HistoryServer:
    url: str
    process: psutil.Process

    def api_process(self) -> psutil.Process:
        """The one that listens on the port of `url`."""
        port = int(self.url.rsplit(":", 1)[1])
        for process in self.process.children(recursive=True):
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")):
                return process
        raise AssertionError(f"nothing of {self.process} listens on {port}")


def environment(settings: LiveSettings) -> dict[str, str]:
    """Live settings as variables."""
    return {f"RAY_HISTORY_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value != ""}


@contextmanager
def history_server(bucket: Path, directory: Path, settings: Mapping[str, str]) -> Iterator[HistoryServer]:
    """What it says and keeps lies in `directory`; settings of the caller's own environment do not count."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_HISTORY_")}
    output = directory / "output"
    options = ["--storage", str(bucket), "--data-dir", str(directory / "data"), "--port", "0", "--workers", "1"]
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *options], stdout=file, stderr=file, env={**inherited, **settings, "HOME": str(directory)}
        )
    try:
        wait_until(lambda: "ready at" in output.read_text() or process.poll() is not None, "up", _STARTED)
        address = re.search(r"ready at (http://\S+)", output.read_text())
        assert address, output.read_text()
        yield HistoryServer(address[1], psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(_ENDED)
        finally:
            process.kill()
