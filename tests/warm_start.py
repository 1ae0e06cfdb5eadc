"""Starts our commands in a fraction of the time: a process that has imported their libraries forks for each, and tells when one ends.

What starts so is a process like any other, with a group and an environment of its own. Imports are most of a start: the tests start
hundreds of processes, a soak thousands. How a process begins is shown by those that start as users start them: `up`, compose.yaml, the image.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

# Nothing that starts threads, or reads settings, when it is imported: prometheus_client does, and what of ours imports it.
_LIBRARIES = [
    "boto3",
    "cachetools",
    "celery",
    "celery.app.trace",
    "celery.apps.worker",
    "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "fastapi",
    "fastapi.openapi.docs",
    "httpx",
    "kombu.transport.redis",
    "kubernetes.client",
    "kubernetes.watch",
    "msgspec",
    "pydantic_settings",
    "redis.asyncio",
    "sse_starlette",
    "structlog",
    "tenacity",
    "typer",
    "uvicorn",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.loops.uvloop",
    "zstandard",
    "isal.igzip",
]
_LOOK_EVERY = 0.05
# The first of all waits for the imports.
_START = 300.0
_ROOT = Path(__file__).parent.parent


class WarmStart:
    """The forking process, from the side of those that start others. `modules`: what else it imports."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "tests.warm_start", *_LIBRARIES, *modules]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=_ROOT)
        # By a name of ours: a long soak starts more processes than there are numbers for them.
        self._names = map(str, count())
        self._codes: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, arguments: list[str], log: Path, environment: dict[str, str]) -> WarmProcess:
        assert self._process.stdin is not None
        with self._changed:
            name = next(self._names)
            order = {"name": name, "arguments": arguments, "log": str(log), "environment": environment}
            self._process.stdin.write(json.dumps(order) + "\n")
            assert self._changed.wait_for(lambda: name in self._started, _START), f"{arguments} was not started"
        return WarmProcess(self, name, self._started[name])

    def code(self, name: str, timeout: float) -> int | None:
        """How a process ended; None while it runs."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._codes, timeout)
            return self._codes.get(name)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                if "pid" in told:
                    self._started[told["name"]] = told["pid"]
                else:
                    self._codes[told["name"]] = told["code"]
                self._changed.notify_all()


class WarmProcess:
    """What of `subprocess.Popen` is used."""

    def __init__(self, start: WarmStart, name: str, pid: int) -> None:
        self._start = start
        self._name = name
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._start.code(self._name, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self.returncode = self._start.code(self._name, 60.0 if timeout is None else timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("ray-history", timeout or 60.0)
        return self.returncode

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@cache
def warm_start() -> WarmStart:
    """That of this process of the tests."""
    made = WarmStart()
    atexit.register(made.close)
    return made


def _serve(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    buffer, running = b"", dict[int, str]()
    while True:
        ready, _, _ = select.select([0], [], [], _LOOK_EVERY)
        if ready:
            read = os.read(0, 1 << 16)
            if not read:
                break  # the tests have ended, or were killed: nothing of them stays
            *lines, buffer = (buffer + read).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if not (pid := os.fork()):
                    _become(order)
                running[pid] = order["name"]
                _tell({"name": order["name"], "pid": pid})
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                _tell({"name": running.pop(ended[0]), "code": os.waitstatus_to_exitcode(ended[1])})
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _tell(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _become(order: dict[str, Any]) -> None:
    """`ray-history ...` from here on; never returns."""
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(file, number)
    os.environ.clear()
    # The worker would start itself again for its allocator's settings.
    os.environ.update({**order["environment"], "_RAY_HISTORY_PREPARED": str(os.getpid())})
    sys.argv = ["ray-history", *order["arguments"]]
    code: Any = 1
    try:
        from cli.main import main

        main()
    except SystemExit as exc:
        code = exc.code
    except BaseException:  # noqa: BLE001 - this fork must never go on as what it was forked from
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve(sys.argv[1:])
