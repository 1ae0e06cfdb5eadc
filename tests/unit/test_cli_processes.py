"""The children of one command: one that dies is named, and ending leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.output import Failed
from cli.processes import Child, Processes
from shared.restarts import Restarts
from tests.waiting import wait_until

# Forks a process of its own, says both ids, and takes SIGTERM as its argument says.
_PARENT = """
import os, signal, sys
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    print(os.getpid(), child, flush=True)
while True:
    signal.pause()
"""

_SAYS_ITS_END = """
import signal, sys
def end(*_):
    with open(sys.argv[2], "a") as ends:
        ends.write(sys.argv[1])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
signal.pause()
"""


def _ids(children: Processes, log: Path) -> list[int]:
    assert children.wait_until(lambda: log.read_text().count("\n") == 1, "the child", 20)
    return [int(pid) for pid in log.read_text().split()]


def _runs(pid: int) -> bool:
    """Zombies have ended: whoever adopted them has only not looked yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("how", ["orderly", "stubborn"])
def test_ending_leaves_no_process_behind(tmp_path: Path, how: str) -> None:
    children = Processes()
    log = tmp_path / "log"
    children.start("parent", [sys.executable, "-c", _PARENT, how], grace=0.3 if how == "stubborn" else 20, log=log)
    pids = _ids(children, log)
    assert all(_runs(pid) for pid in pids)
    children.end()
    wait_until(lambda: not any(_runs(pid) for pid in pids), "the end of both")


def test_the_last_started_ends_first(tmp_path: Path) -> None:
    children = Processes()
    ends = tmp_path / "ends"
    script = (
        f"import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (open({str(ends)!r}, 'a').write(sys.argv[1]), sys.exit(0))); "
    )
    script += "print('up', flush=True); time.sleep(60)"
    for name in "abc":
        children.start(name, [sys.executable, "-c", script, name], grace=20, log=tmp_path / name)
    assert children.wait_until(lambda: all((tmp_path / name).read_text() for name in "abc"), "all", 20)
    children.end()
    assert ends.read_text() == "cba"


def test_a_child_that_ends_is_named_with_its_code_and_last_line(tmp_path: Path) -> None:
    children = Processes()
    log = tmp_path / "worker.log"
    children.start("worker", [sys.executable, "-c", "print('first'); print('out of luck'); raise SystemExit(3)"], grace=1, log=log)
    with pytest.raises(Failed) as failure:
        children.wait_until(lambda: False, "nothing", 20)
    assert str(failure.value) == f"worker ended with exit code 3: out of luck (its log: {log})"
    children.end()


def test_a_child_that_is_killed_is_named_with_its_signal() -> None:
    children = Processes()
    child = children.start("api", [sys.executable, "-c", "import signal; signal.pause()"], grace=1)
    os.kill(child.process.pid, signal.SIGKILL)
    with pytest.raises(Failed, match=r"^api was killed by SIGKILL$"):
        children.wait_until(lambda: False, "nothing", 20)
    children.end()


def test_a_child_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.restarts._FIRST", 0.01)
    children = Processes()
    log = tmp_path / "log"
    script = "import sys, time; print(sys.stdin.read(), flush=True); time.sleep(0 if open(sys.argv[1]).read().count('told') < 3 else 60)"
    children.start("worker", [sys.executable, "-c", script, str(log)], grace=1, log=log, stdin=b"told")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            children.stopping.set()

    children.look_after(say)
    children.end()
    assert said[0] == f"worker ended with exit code 0: told (its log: {log}); started again in 0.01 s"
    assert said[1].endswith("started again in 0.02 s")


def test_a_child_that_ends_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.restarts._FIRST", 0.001)
    children = Processes()
    children.start("api", [sys.executable, "-c", "raise SystemExit(3)"], grace=1)
    said: list[str] = []
    with pytest.raises(Failed, match=r"^api ended with exit code 3, again and again$"):
        children.look_after(said.append)
    assert len(said) == 6
    children.end()


def test_restarts_are_soon_at_first_and_later_each_time_until_it_ran_well() -> None:
    now = [0.0]
    restarts = Restarts(lambda: now[0])
    assert [restarts.after() for _ in range(7)] == [0.5, 1, 2, 4, 8, 16, None]
    restarts.begun()
    now[0] += 60
    assert restarts.after() == 0.5


def test_what_is_not_ready_in_time_fails() -> None:
    with pytest.raises(Failed, match=r"^redis was not ready after 0 s$"):
        Processes().wait_until(lambda: False, "redis", 0)


def test_a_command_that_does_not_exist_fails(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="redis could not be started"):
        Processes().start("redis", [str(tmp_path / "absent")], grace=1)


def test_a_signal_asks_to_stop() -> None:
    children = Processes()
    with children.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        children.look_after(print)
        assert not children.wait_until(lambda: True, "nothing", 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _fork(children: Processes, work: Callable[[], int], log: Path | None = None, grace: float = 20) -> Child:
    return children.start("worker", [sys.executable, "-m", "cli", "worker"], grace=grace, log=log, work=work)


def test_a_forked_child_is_its_command_to_others_and_ends_when_asked(tmp_path: Path) -> None:
    children = Processes()
    log = tmp_path / "log"

    def work() -> int:
        os.write(1, b"up %d %s\n" % (os.getsid(0), os.read(0, 1)))
        signal.pause()
        return 0

    child = _fork(children, work, log)
    assert children.wait_until(lambda: "up" in log.read_text(), "the child", 20)
    assert log.read_text().split() == ["up", str(child.process.pid)]
    shown = psutil.Process(child.process.pid).cmdline()
    assert [part for part in shown if part] == [sys.executable, "-m", "cli", "worker"]
    children.end()
    assert child.process.poll() == -signal.SIGTERM


def test_a_forked_child_that_ends_is_named_like_any_other(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def work() -> int:
        os.write(1, b"out of luck\n")
        sys.exit(3)

    children = Processes()
    _fork(children, work, log)
    with pytest.raises(Failed, match=r"^worker ended with exit code 3: out of luck "):
        children.wait_until(lambda: False, "nothing", 20)
    children.end()


def test_a_forked_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def work() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, b"up\n")
        while True:
            signal.pause()

    children = Processes()
    child = _fork(children, work, log, grace=0.2)
    assert children.wait_until(lambda: "up" in log.read_text(), "the child", 20)
    children.end()
    assert child.process.poll() == -signal.SIGKILL


_PARTS = """
import os, sys, threading
from pathlib import Path
from cli.forked_parts import ForkedParts
parts = ForkedParts()
assert threading.active_count() == 1, threading.enumerate()
assert "api.app" in sys.modules and "workers.tasks" in sys.modules
own = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
assert own.is_dir()
parts.close()
assert not own.exists()
"""


def test_what_up_forks_from_has_no_threads(tmp_path: Path) -> None:
    environment = {"RAY_HISTORY_STORAGE": tmp_path.as_uri(), "RAY_HISTORY_REDIS_URL": "redis://127.0.0.1:1/0", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _PARTS], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
