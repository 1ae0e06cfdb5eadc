"""A collector in a process of its own, a client that posts as Ray's agent does, and faults."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from cli.embedded_server import free_port
from tests.collector.events import body, event, random_id
from tests.waiting import wait_until

_STARTED = 60.0
_ENDED = 60.0
_UPLOADED = 300.0
_FAULTS = ("kill", "kill", "storage", "disk")


class CollectorProcess:
    """`python -m collector` on `bucket`; it may be killed and started again. What it says is in `directory`/output."""

    def __init__(self, directory: Path, bucket: Path, **settings: object) -> None:
        self.directory = directory
        self.bucket = bucket
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        bucket.mkdir(parents=True, exist_ok=True)
        given: Mapping[str, object] = {
            "STORAGE": f"file://{bucket}",
            "COLLECT_PORT": self.port,
            "COLLECT_DIR": directory / "data",
            "COLLECT_RAY_DIR": directory / "ray",
            "COLLECT_ROTATION": 0.2,
            "COLLECT_ROTATION_BYTES": 100_000,
            "COLLECT_LINGER": 0,
            "COLLECT_GRACE": 10,
            "COLLECT_DASHBOARD": "http://127.0.0.1:9",
            **settings,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
        self._environment = {**others, **{f"RAY_HISTORY_{name}": str(value) for name, value in given.items()}}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text(errors="replace")

    def start(self) -> None:
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "collector"], env=self._environment, stdout=output, stderr=output)

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.output
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/livez", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, "the collector answers", _STARTED)

    def status(self) -> dict[str, object]:
        answer: dict[str, object] = httpx.get(f"http://127.0.0.1:{self.port}/status", trust_env=False).json()
        return answer

    def post(self, content: bytes, timeout: float = 10.0) -> int:
        """The status; 0 when there was no answer."""
        try:
            return httpx.post(f"http://127.0.0.1:{self.port}/v1/events", content=content, timeout=timeout, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """As an operator ends it: SIGTERM, and everything is uploaded."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(_ENDED) == 0, self.output

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond so many bytes: as a full disk, for one process, without a right that tests may lack."""
        assert self.process is not None
        hard = resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size is None else size, hard))


@contextmanager
def collecting(directory: Path, bucket: Path, **settings: object) -> Iterator[CollectorProcess]:
    collector = CollectorProcess(directory, bucket, **settings)
    collector.start()
    try:
        collector.wait_ready()
        yield collector
    finally:
        if collector.process and collector.process.poll() is None:
            collector.kill()


class Agent(threading.Thread):
    """Posts batches of events one after another, each again and again until it is answered 200, as Ray's agent does."""

    def __init__(self, collector: CollectorProcess, seed: int) -> None:
        super().__init__(daemon=True)
        self._collector = collector
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self.refused = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            ids = [random_id(self._random) for _ in range(self._random.choice((1, 10, 200)))]
            batch = body([event(event_id, job=self._random.choice(("04000000", "05000000"))) for event_id in ids])
            self.sent.update(ids)
            # Like Ray's, it sometimes does not wait for the answer.
            while (status := self._collector.post(batch, self._random.choice((0.02, 3.0, 3.0, 3.0)))) != 200:
                self.refused += status == 503
                if self._stopped.wait(0.02):
                    return
            self.acknowledged.update(ids)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def shaken(collector: CollectorProcess, seed: int, seconds: float, outage: float = 0.0) -> set[str]:
    """Let an agent send for a while, under faults drawn by the seed: SIGKILL, the storage away, the disk full. Which ids were acknowledged.

    `outage`: amid all that the storage is away for so long, without an end of the other faults.
    """
    faults = random.Random(seed)
    agent = Agent(collector, seed)
    agent.start()
    _strike(collector, faults, seconds / 2)
    if outage:
        before = len(agent.acknowledged)
        with storage_away(collector):
            _strike(collector, faults, outage, ("kill", "disk"), longest_pause=5.0)
            wait_until(lambda: len(agent.acknowledged) > before, "events are taken while the storage is away", _STARTED)
    _strike(collector, faults, seconds / 2)
    collector.wait_ready()
    wait_until(lambda: bool(agent.acknowledged), "something was acknowledged", 30)
    agent.stop()
    if outage:
        # More than a collector's grace may be enough for: it is not lost then, but not yet in the bucket either.
        wait_until(lambda: collector.status()["buffered_bytes"] == 0, "everything is uploaded", _UPLOADED)
    return agent.acknowledged


def _strike(
    collector: CollectorProcess, faults: random.Random, seconds: float, kinds: Sequence[str] = _FAULTS, longest_pause: float = 0.4
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(faults.uniform(0.02, longest_pause))
        fault = faults.choice(kinds)
        if fault == "kill":
            collector.kill()
            time.sleep(faults.uniform(0, 0.1))
            collector.start()
        elif fault == "storage":
            with storage_away(collector):
                time.sleep(faults.uniform(0.05, 0.8))
                if faults.random() < 0.5:
                    collector.kill()
                    collector.start()
        else:
            collector.limit_files(faults.randrange(10_000))
            time.sleep(faults.uniform(0.05, 0.5))
            collector.limit_files(None)


@contextmanager
def storage_away(collector: CollectorProcess) -> Iterator[None]:
    away = collector.bucket.with_name(collector.bucket.name + "-away")
    collector.bucket.rename(away)
    yield
    away.rename(collector.bucket)
