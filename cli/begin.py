"""A command that goes on for long begins anew, in its own process, as nothing but what runs: without what its options, checks and other
commands needed, which would stay in memory, and with what only a starting process reads, such as the settings of its allocator.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NoReturn

from cli.output import Failed, failed
from shared.errors import HistoryError

# The process' id; while it begins anew, also what it is to run.
_BEGUN = "_RAY_HISTORY_PREPARED"
# Libraries would load these where they are installed, for what we never ask them for: coloured tracebacks (structlog), a command line
# (httpx), reloading (uvicorn), other event loops (tenacity, structlog), and one system call (billiard): 8 MB and a fifth of a second.
_UNUSED = ("rich", "pygments", "watchfiles", "tornado", "greenlet", "cffi")


def begin(module: str, environment: Mapping[str, str], **options: Any) -> int:
    """This process goes on as `module.run(**options)`, a function of plain values. Variables that are set already stay as they are."""
    if os.environ.get(_BEGUN) != str(os.getpid()):
        _begin_anew(module, environment, options)
    return int(import_module(module).run(**options))


def _begin_anew(module: str, environment: Mapping[str, str], options: dict[str, Any]) -> NoReturn:
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    os.environ[_BEGUN] = json.dumps([os.getpid(), module, options])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "cli", *sys.argv[1:]])  # noqa: S606 - no shell wanted


def go_on() -> int | None:
    """What was begun, until its end: the exit code. None in a process that has not begun anything yet."""
    given = os.environ.get(_BEGUN, "")
    process, module, options = json.loads(given) if given.startswith("[") else (0, "", {})
    if process != os.getpid():
        return None
    os.environ[_BEGUN] = str(process)
    for name in _UNUSED:
        sys.modules[name] = None  # type: ignore[assignment]
    return ended_as(lambda: import_module(module).run(**options))


def ended_as(run: Callable[[], int]) -> int:
    """The exit code; a failure is one line on stderr."""
    try:
        return int(run())
    except (HistoryError, Failed) as exc:
        return failed(str(exc))
