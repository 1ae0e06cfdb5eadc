"""Schemathesis finds nothing wrong between the OpenAPI document and what is sent: every route, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest
import uvicorn

from tests.in_process import add_session, in_process

EXAMPLES = 4
# Which formats there are for which kind of export is more than a schema can say.
CONFIG = """
[[operations]]
include-path = "/sessions/{namespace}/{kind}/{name}/{session}/export"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "5xx"]

# Browsers may ask without the two sessions, programs may not.
[[operations]]
include-path = "/compare"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "5xx"]
"""


async def _findings(address: str, directory: Path) -> tuple[int | None, str]:
    """Exit code (0: none) and report of one run, of which nothing is random."""
    options = ["--max-examples", str(EXAMPLES), "--seed", "1", "--generation-deterministic", "--no-color", "--warnings", "off"]
    (directory / "schemathesis.toml").write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("st")), "run", f"{address}/openapi.json", *options]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        report, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, report.decode()


async def test_schemathesis_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_session(tmp_path / "bucket", "team-a", "seen")
    listening = socket.create_server(("127.0.0.1", 0))
    async with in_process(tmp_path / "bucket", monkeypatch, loads_per_minute=0, lists_per_minute=0, wait_limit=0) as made:
        # Nothing is held until it is loaded: here that never happens.
        made.app.state.draining.until = 0.0
        server = uvicorn.Server(uvicorn.Config(made.app, lifespan="off", log_level="critical"))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            code, report = await _findings(f"http://127.0.0.1:{listening.getsockname()[1]}", tmp_path)
        finally:
            server.should_exit = True
            await serving
    assert code == 0, report
    # Every operation was tried, in more than one way.
    operations = sum(len(methods) for methods in made.app.openapi()["paths"].values())
    assert f"Tested: {operations}\n" in report, report
    assert int(report.rpartition("Test cases:")[2].split()[0]) > 10 * operations, report
