"""One history server for all conformance tests, started as a user starts it, on the recorded bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.recorded import unpack
from tests.waiting import wait_until

_STARTED = 120.0
_ENDED = 60.0


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bucket/` and `live/`."""
    return unpack(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="session")
def history_server(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    home = tmp_path_factory.mktemp("history-server")
    output = home / "output"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_HISTORY_")} | {"HOME": str(home)}
    options = ["--storage", str(recorded / "bucket"), "--port", "0", "--workers", "2", "--data-dir", str(home / "data")]
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "cli", "up", *options], stdout=file, stderr=file, env=environment)
    try:
        wait_until(lambda: "ready at" in output.read_text() or process.poll() is not None, "the history server", _STARTED)
        match = re.search(r"ready at (http://\S+)", output.read_text())
        assert match, output.read_text()
        yield match[1]
    finally:
        process.terminate()
        try:
            process.wait(_ENDED)
        finally:
            process.kill()
