"""How a deployment starts its Valkey: the words of the server's command line, and what it reads from its standard input."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ENTRYPOINT = '#!/bin/sh\nexec "$@"\n'
_RECORDED = '#!/bin/sh\nprintf "%s\\n" "$@" > "$0.words"\ncat > "$0.input"\n'


@dataclass(frozen=True)
class Started:
    """`options` by their names; `words` are all of them, `configuration` the lines of the standard input."""

    words: list[str]
    options: dict[str, str]
    configuration: list[str]


def image_path(directory: Path, program: Path | None = None) -> str:
    """A PATH with what the Valkey image has: its entry point, which goes on as what it is given, and the server or what records its start."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "docker-entrypoint.sh", _ENTRYPOINT)
    server = directory / "valkey-server"
    if program:
        server.unlink(missing_ok=True)
        server.symlink_to(program)
    else:
        _write(server, _RECORDED)
    return f"{directory}:{os.environ['PATH']}"


def start_recorded(command: Sequence[str], environment: Mapping[str, str], directory: Path) -> Started:
    """Run the command with a server that only records how it was started."""
    subprocess.run(command, env={**environment, "PATH": image_path(directory)}, check=True, timeout=30)
    words = (directory / "valkey-server.words").read_text().split("\n")[:-1]
    assert words[0] == "-", "the configuration comes by standard input"
    options = dict(zip(words[1::2], words[2::2], strict=True))
    return Started(words, options, (directory / "valkey-server.input").read_text().splitlines())


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)
