"""`ray-history dashboard fetch` with a pip that serves wheels made here."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import dashboard
from cli.main import run

BUILD = "ray/dashboard/client/build/"
FILES = {
    f"{BUILD}index.html": "<html>",
    f"{BUILD}static/js/main.1.js": "run()",
    f"{BUILD}static/js/main.1.js.map": "x" * 1000,
    f"{BUILD}../../../../../evil": "evil",
    f"{BUILD}/evil": "evil",
    "ray/__init__.py": "",
}
NOT_FOUND = (
    "ERROR: Could not find a version that satisfies the requirement ray=={version} (from versions: {versions})\n"
    "ERROR: No matching distribution found for ray=={version}\n"
)
Pip = Callable[..., list[list[str]]]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Takes the place of pip: has a wheel of some interpreters, or fails. Gives the commands that were run."""

    def use(*pythons: str, files: dict[str, str] | None = None, said: str = "", data: bytes | None = None) -> list[list[str]]:
        commands: list[list[str]] = []

        def answer(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            python = command[command.index("--python-version") + 1]
            if python not in pythons:
                version = command[-1].removeprefix("ray==")
                return subprocess.CompletedProcess(command, 1, "", said or NOT_FOUND.format(version=version, versions="2.0.0, 2.60.0"))
            wheel = Path(command[command.index("--dest") + 1]) / "ray-2.60.0-cp311-cp311-manylinux2014_x86_64.whl"
            if data is not None:
                wheel.write_bytes(data)
            else:
                with zipfile.ZipFile(wheel, "w") as archive:
                    for name, text in (files or FILES).items():
                        archive.writestr(name, text)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(dashboard.subprocess, "run", answer)
        return commands

    return use


def _fetch(directory: Path, version: str = "2.60.0") -> int:
    return run(["dashboard", "fetch", version, "--directory", str(directory)])


def _below(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_only_the_frontend_without_its_source_maps_is_kept(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = pip("3.12")
    assert _fetch(tmp_path / "kept") == 0
    assert capsys.readouterr().out == f"{tmp_path}/kept/2.60.0\n"
    assert _below(tmp_path) == {"kept/2.60.0/index.html", "kept/2.60.0/static/js/main.1.js"}
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["2.60.0"], "nothing else is left behind"
    assert len(commands) == 1
    assert not any("://" in argument for argument in commands[0]), "the index is the user's own"
    assert _fetch(tmp_path / "kept") == 0
    assert capsys.readouterr().out == f"{tmp_path}/kept/2.60.0\n"
    assert len(commands) == 1, "it is there already"


def test_an_older_ray_has_wheels_of_older_interpreters_only(pip: Pip, tmp_path: Path) -> None:
    commands = pip("3.10")
    assert _fetch(tmp_path) == 0
    assert len(commands) == 3
    assert (tmp_path / "2.60.0" / "index.html").is_file()


def test_several_versions_lie_side_by_side(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = pip("3.12")
    assert run(["dashboard", "fetch", "2.55.1", "2.60.0", "--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/2.55.1\n{tmp_path}/2.60.0\n"
    assert [command[-1] for command in commands] == ["ray==2.55.1", "ray==2.60.0"]


def test_without_a_version_it_is_the_newest(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = pip("3.12")
    assert run(["dashboard", "fetch", "--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/2.60.0\n"
    assert [command[-1] for command in commands] == ["ray"]


def test_half_a_build_is_replaced(pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "2.60.0" / "static").mkdir(parents=True)
    (tmp_path / "2.60.0" / "static" / "left.js").touch()
    pip("3.12")
    assert _fetch(tmp_path) == 0
    assert _below(tmp_path / "2.60.0") == {"index.html", "static/js/main.1.js"}


def test_the_default_directory_is_below_the_data_directory(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    pip("3.12")
    assert run(["dashboard", "fetch", "2.60.0"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/ray-history/dashboard/2.60.0\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "the package index has no wheel of ray 9.9.9 for any of Python 3.12, "),
        (
            {"said": NOT_FOUND.format(version="9.9.9", versions="none")},
            "pip found no wheel of ray in the package index at all: can the index",
        ),
        ({"said": "WARNING: x\nERROR: Double requirement given: ray\n\n"}, "pip could not fetch ray 9.9.9: Double requirement given: ray"),
        (
            {"said": "WARNING: Retrying after connection broken by 'refused'\n" + NOT_FOUND.format(version="9", versions="none")},
            "('refused')",
        ),
    ],
    ids=["version", "index", "error", "network"],
)
def test_what_pip_cannot_do_is_one_line(
    pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: str
) -> None:
    pip(**options)
    assert _fetch(tmp_path, "9.9.9") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("ray-history: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"files": {"ray/__init__.py": ""}}, "holds no dashboard"), ({"data": b"not a zip"}, "is damaged")],
    ids=["no frontend", "damaged"],
)
def test_a_wheel_that_will_not_do_is_one_line(
    pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: str
) -> None:
    pip("3.12", **options)
    assert _fetch(tmp_path) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_directory_is_one_line(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pip("3.12")
    (tmp_path / "file").touch()
    assert _fetch(tmp_path / "file" / "below") == 1
    assert capsys.readouterr().err.startswith(f"ray-history: cannot write to {tmp_path}/file/below: ")


@pytest.mark.parametrize("version", ["", "latest", "2", "../2.60.0", "-r", "2.60.0 --index-url x", "2.60.0/.."])
def test_only_a_version_is_taken(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str) -> None:
    commands = pip("3.12")
    assert _fetch(tmp_path, version) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert commands == []
