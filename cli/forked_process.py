"""A child of ours that is forked, used like one that is started: what of `subprocess.Popen` is needed."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from shared.forking import ended, fork

_POLL = 0.02


class ForkedProcess:
    """The leader of a session of its own. `title`: the command that it is listed as; `output`: our own where there is none."""

    def __init__(self, title: list[str], work: Callable[[], int], output: IO[bytes] | None) -> None:
        self._code: int | None = None

        def begin() -> int:
            os.setsid()
            _talk_to(output)
            _show_as(title)
            return work()

        self.pid = fork(begin)

    def poll(self) -> int | None:
        if self._code is None:
            self._code = ended(self.pid)
        return self._code

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(_POLL)
        return code

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _talk_to(output: IO[bytes] | None) -> None:
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    if output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        output.close()


def _show_as(title: list[str]) -> None:
    """Linux: `ps` and others read the command line where the system has put it, as much as there is room for."""
    with suppress(OSError, ValueError, IndexError):
        # After the name, which may hold anything: proc(5), fields 48 and 49.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        room = end - start
        if room > 0:
            shown = "\0".join(title).encode()[: room - 1]
            ctypes.memmove(start, shown.ljust(room, b"\0"), room)
