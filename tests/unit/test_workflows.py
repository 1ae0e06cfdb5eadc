"""What GitHub runs exists: targets of the Makefile, test files, programs of .venv."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _commands(file: Path) -> list[str]:
    jobs: dict[str, Any] = yaml.safe_load(file.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_commands_name_what_there_is(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = "\n".join(_commands(file))
    called = re.findall(r"\bmake ([a-z-]+)", commands)
    assert called
    assert set(called) <= targets
    for path in re.findall(r"\b(?:tests|charts)/[\w/.-]+|\.ci/run", commands):
        assert (ROOT / path).exists(), path


def test_the_matrix_has_every_python_that_is_promised() -> None:
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["matrix"]["strategy"]["matrix"]
    assert promised
    assert set(promised) <= set(matrix["python"])
