"""`ray-history ray-env`: the environment that Ray must be started in, in the form that its place needs."""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from importlib import metadata
from typing import Annotated

import typer

from cli.collect import events_address
from collector.ray_env import Version, as_dotenv, as_shell, as_systemd, as_yaml, parse_version, ray_environment
from shared.errors import SettingsError
from shared.settings import Settings

_WITHIN = 60.0


class Form(StrEnum):
    """How the variables are written."""

    shell = "shell"
    systemd = "systemd"
    yaml = "yaml"
    dotenv = "dotenv"


_FORMS = {Form.shell: as_shell, Form.systemd: as_systemd, Form.yaml: as_yaml, Form.dotenv: as_dotenv}


def ray_env(
    ray_version: Annotated[str, typer.Option(help="Version of Ray.  [default: what is installed here]", show_default=False)] = "",
    form: Annotated[Form, typer.Option("--format", help="For `eval` and Slurm scripts, a unit file, a RayCluster, docker.")] = Form.shell,
    address: Annotated[
        str, typer.Option(help="Where the collector takes events.  [default: its port on this machine]", show_default=False)
    ] = "",
) -> None:
    """Print the environment in which Ray sends its events to the collector.

    On every node, before Ray starts: eval "$(ray-history ray-env)"; ray start ...
    """
    version = parse_version(ray_version) if ray_version else installed_version()
    print(_FORMS[form](ray_environment(version, address or events_address(Settings.from_environment().collect))), end="")


def installed_version() -> Version | None:
    """Of Ray beside us, or else of the `ray` that the shell finds; None without either."""
    try:
        return parse_version(metadata.version("ray"))
    except metadata.PackageNotFoundError:
        pass
    program = shutil.which("ray")
    if program is None:
        return None
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_WITHIN, check=True).stdout  # noqa: S603
        return parse_version(said.rpartition(" ")[2])
    except (OSError, subprocess.SubprocessError, SettingsError):
        return None
