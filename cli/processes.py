"""Child processes as one unit: started in order, started again when one ends by itself, and ended in the opposite order."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from cli.forked_process import ForkedProcess
from cli.output import Failed
from shared.forking import end_with_parent
from shared.restarts import Restarts

_POLL = 0.1


@dataclass(slots=True)
class Child:
    """One process, the leader of its own process group. `grace`: seconds it may take to end after SIGTERM.

    `work`: what is forked to run, and then shown as `command`; without it the command is started.
    An errand may end while the others run.
    """

    name: str
    command: Sequence[str]
    grace: float
    log: Path | None = None
    stdin: bytes | None = None
    errand: bool = False
    work: Callable[[], int] | None = None
    process: subprocess.Popen[bytes] | ForkedProcess = field(init=False)
    restarts: Restarts = field(default_factory=Restarts)
    # When it is to be started again; None while it runs.
    due: float | None = None

    def start(self, *, anew: bool = False) -> None:
        """Its output goes to `log` (begun anew, or added to), or to ours. Raises Failed."""
        output = self.log.open("wb" if anew else "ab") if self.log else None
        try:
            # Its own group: Ctrl-C reaches only us, and what it forked can be ended with it.
            self.process = ForkedProcess(list(self.command), self.work, output) if self.work else self._started(output)
        except OSError as exc:
            raise Failed(f"{self.name} could not be started: {exc}") from exc
        finally:
            if output:
                output.close()
        self.restarts.begun()
        self.due = None

    def _started(self, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own command lines
            self.command,
            stdin=subprocess.DEVNULL if self.stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),  # noqa: PLW1509 - only makes one system call
        )
        if self.stdin is not None and process.stdin:
            # A child that died at once has closed the pipe; `check` will say so.
            with _ignored(BrokenPipeError), process.stdin as pipe:
                pipe.write(self.stdin)
        return process

    def ended(self) -> str | None:
        """How it ended, in words, with the last line of its log; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = _last_line(self.log) if self.log else ""
        return f"{self.name} {how}" + (f": {last}" if last else "") + (f" (its log: {self.log})" if self.log else "")


class Processes:
    """The children of one command. Use as a context manager: leaving it ends every child."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._hurried = threading.Event()
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        grace: float,
        log: Path | None = None,
        stdin: bytes | None = None,
        errand: bool = False,
        work: Callable[[], int] | None = None,
    ) -> Child:
        """Start one child. Raises Failed."""
        child = Child(name, command, grace, log, stdin, errand, work)
        child.start(anew=True)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raises Failed, naming the child, when one has ended that was not on an errand."""
        for child in self._children:
            if not child.errand and (ended := child.ended()):
                raise Failed(ended)

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float) -> bool:
        """True when `ready`; False when a signal asked to stop first. Raises Failed when a child dies or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.stopping.is_set():
            self.check()
            if ready():
                return True
            if time.monotonic() > deadline:
                raise Failed(f"{what} was not ready after {timeout:.0f} s")
            self.stopping.wait(_POLL)
        return False

    def look_after(self, say: Callable[[str], None]) -> None:
        """Until a signal asks to stop: who ends is started again. Raises Failed when one ends again and again."""
        while not self.stopping.wait(_POLL):
            for child in self._children:
                if child.due is None and not child.errand and (ended := child.ended()):
                    # What it forked and left behind would be in the way.
                    _kill_group(child)
                    after = child.restarts.after()
                    if after is None:
                        raise Failed(f"{ended}, again and again")
                    say(f"{ended}; started again in {after:g} s")
                    child.due = time.monotonic() + after
                elif child.due is not None and time.monotonic() >= child.due:
                    child.start()

    def end(self) -> None:
        """End every child, the last started first: SIGTERM, and SIGKILL for its whole group when its grace has run out."""
        while self._children:
            child = self._children.pop()
            if child.process.poll() is None:
                child.process.terminate()
                deadline = time.monotonic() + child.grace
                while child.process.poll() is None and time.monotonic() < deadline and not self._hurried.is_set():
                    self._hurried.wait(_POLL / 2)
            # Also after an orderly end: whatever it forked and left behind goes with it.
            _kill_group(child)
            child.process.wait()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """While inside, SIGINT, SIGTERM and SIGHUP ask to stop; the second one, and SIGQUIT, kill without waiting."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if self.stopping.is_set() or number == signal.SIGQUIT:
                self._hurried.set()
            self.stopping.set()

        former = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


@contextmanager
def _ignored(*errors: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except errors:
        return


def _kill_group(child: Child) -> None:
    with _ignored(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""
