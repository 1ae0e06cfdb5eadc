"""One history server for all conformance tests, started as a user starts it, on the recorded bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import running


@pytest.fixture(scope="session")
def history_server(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    with running(recorded / "bucket", tmp_path_factory.mktemp("history-server"), "--workers", "2") as address:
        yield address
