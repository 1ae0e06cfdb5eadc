"""How a command fails: one line on stderr, exit code 1 (2 for wrong usage), no traceback."""

from __future__ import annotations

import sys


class Failed(Exception):
    """The command could not do what was asked. The message is the one line that the user reads."""


def failed(message: str, code: int = 1) -> int:
    """Say so; the exit code."""
    print("ray-history: " + " ".join(message.split()), file=sys.stderr)
    return code
