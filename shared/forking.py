"""Processes that are forked instead of started: what their parent has imported, they share."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

import structlog

log = structlog.get_logger()

# Those that ask to end.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_PR_SET_PDEATHSIG = 1


def fork(work: Callable[[], int]) -> int:
    """The id of a new process, which runs `work` and ends with the code that it returns. Call it from a process without threads."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # One that comes before the child has forgotten our handlers would be lost.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return pid
    code = 1
    try:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        end_with_parent(signal.SIGTERM)
        if os.getppid() == parent:
            code = work()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # the process ends here, whatever it was
        log.exception("ended")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_with_parent(number: signal.Signals) -> None:
    """Linux: this process is sent the signal when its parent is gone, even when that was killed and could end nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def ended(pid: int) -> int | None:
    """The exit code of a child, negative for a signal; None while it runs. To be asked until it has ended, and not again."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
