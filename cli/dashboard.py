"""`ray-history dashboard`: builds of the Ray dashboard's frontend, each taken from the `ray` wheel of its version."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from cli.data_directory import default_builds_dir
from cli.output import Failed

app = typer.Typer(no_args_is_help=False, help="The Ray dashboard's own web pages, to be served under each session.")

_BUILD = "ray/dashboard/client/build/"
_VERSION = re.compile(r"\d+(\.\d+){1,3}([a-z0-9.+]*)?")
# The frontend is the same in every wheel of a version, but no version has wheels for all interpreters.
_PLATFORM = "manylinux2014_x86_64"
_PYTHONS = ("3.12", "3.11", "3.10", "3.9", "3.13")
_NO_SUCH_WHEEL = "No matching distribution found"
_NOTHING_LISTED = "(from versions: none)"


@app.callback()
def _group() -> None:
    """Keeps `fetch` a subcommand."""


@app.command()
def fetch(
    ray_versions: Annotated[
        list[str] | None, typer.Argument(metavar="[RAY_VERSION]...", help="Versions of Ray, such as 2.60.0; the newest if none is named.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            help="Where builds are kept, one below it per version.  [default: ~/.local/share/ray-history/dashboard]", show_default=False
        ),
    ] = None,
) -> None:
    """Fetch the pages of some versions of Ray, unless they are there, and print where they are.

    They are part of the `ray` wheel, which pip takes from your package index, as your own configuration of pip says.
    A session is shown with the pages of its own version, else with those of the nearest newer one. A server that runs finds them at once.
    """
    for version in ray_versions or []:
        if not _VERSION.fullmatch(version):
            raise typer.BadParameter(f"{version!r} is no version of Ray: expected one like 2.60.0")
    kept = (directory or default_builds_dir()).expanduser().absolute()
    for version in ray_versions or [""]:
        print(_fetched(version, kept))


def _fetched(ray_version: str, kept: Path) -> Path:
    """Where the build of a version is ("": the newest), fetched unless it was there. Raises Failed."""
    target = kept / ray_version
    if ray_version and _is_build(target):
        return target
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{ray_version}-", dir=kept) as scratch:
            print(f"fetching the wheel of {_named(ray_version)} (about 75 MB)", file=sys.stderr)
            wheel = _download(ray_version, Path(scratch))
            target = kept / (ray_version or wheel.name.split("-")[1])
            if not _is_build(target):
                _put(_extract(wheel, Path(scratch) / "build"), target)
    except OSError as exc:
        raise Failed(f"cannot write to {kept}: {exc.strerror or exc}") from exc
    return target


def _named(ray_version: str) -> str:
    return f"ray {ray_version}" if ray_version else "the newest ray"


def _is_build(directory: Path) -> bool:
    return (directory / "index.html").is_file()


def _download(ray_version: str, scratch: Path) -> Path:
    """The wheel of any interpreter, in `scratch`. Raises Failed."""
    if not importlib.util.find_spec("pip"):
        raise Failed(f"pip is not installed beside {sys.executable}: `{sys.executable} -m ensurepip` installs it")
    said = ""
    for python in _PYTHONS:
        options = ["--no-deps", "--only-binary", ":all:", "--platform", _PLATFORM, "--python-version", python, "--dest", str(scratch)]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download", *options]
        done = subprocess.run([*command, f"ray=={ray_version}" if ray_version else "ray"], capture_output=True, text=True, check=False)  # noqa: S603
        wheel = next(scratch.glob("ray-*.whl"), None)
        if done.returncode == 0 and wheel:
            return wheel
        said = done.stderr
        if _NO_SUCH_WHEEL not in said:
            break
        if _NOTHING_LISTED in said and python == _PYTHONS[0]:
            raise Failed(f"pip found no wheel of ray in the package index at all: can the index be reached? ({_reason(said)})")
    if _NO_SUCH_WHEEL in said:
        raise Failed(f"the package index has no wheel of {_named(ray_version)} for any of Python {', '.join(_PYTHONS)}")
    raise Failed(f"pip could not fetch {_named(ray_version)}: {_reason(said)}")


def _reason(said: str) -> str:
    """The line of pip's output that tells most: why the index could not be asked, or the last error."""
    lines = [line for line in said.splitlines() if line.strip()]
    retried = [line.partition("after connection broken by ")[2] for line in lines if "after connection broken by " in line]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return next(iter(retried), "") or next(iter(reversed(errors)), "") or next(iter(reversed(lines)), "it did not say why")


def _extract(wheel: Path, scratch: Path) -> Path:
    """The frontend's files without source maps, most of its size. Raises Failed when there are none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                place = PurePosixPath(name.removeprefix(_BUILD))
                if not name.startswith(_BUILD) or name.endswith(("/", ".map")) or place.is_absolute() or ".." in place.parts:
                    continue
                file = scratch / place
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, file.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except zipfile.BadZipFile as exc:
        raise Failed(f"{wheel.name} is damaged: {exc}") from exc
    if not _is_build(scratch):
        raise Failed(f"{wheel.name} holds no dashboard: it has no {_BUILD}index.html")
    return scratch


def _put(build: Path, target: Path) -> None:
    """In one step, so that a server never finds half of it."""
    if target.exists() and not _is_build(target):
        shutil.rmtree(target)
    try:
        build.rename(target)
    except OSError:
        # Another fetch of the same version was faster.
        if not _is_build(target):
            raise
