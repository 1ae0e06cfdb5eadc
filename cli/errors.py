"""How a command fails: one line on stderr, exit code 1 (2 for wrong usage), no traceback."""

from __future__ import annotations

import typer


class Failed(typer.TyperException):
    """The command could not do what was asked. The message is the one line that the user reads."""

    exit_code = 1
