"""What one run disturbs: a Redis-compatible server, two API processes and two workers on a bucket, each process behind a proxy of its own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.sessions import SyntheticSession
from tests.servers import QUICK, Api, Child, Deployment, RedisServer, redis_binaries
from tests.soak.redis_proxy import RedisProxy, Trap
from tests.soak.truth import copy
from tests.warm_start import WarmStart

# What makes runs short: sessions of a few MB fan out, and routes answer before a client's patience ends.
_ALWAYS: dict[str, object] = {
    "PART_BYTES": 300_000,
    "RANGE_TASKS": 60,
    "DASHBOARD_WAIT": 1,
    "CATALOGUE_MAX_AGE": 0,
    "LOG_FORMAT": "json",
    "LOAD_ATTEMPTS": 5,
    # Room for a few sessions: a crowd of them evicts each other.
    "SNAPSHOT_BUDGET": 350_000,
}
# Nothing else is set: leases and waits are those of a deployment that sets none.
_DEFAULT = {"LEASE": 20.0, "SNAPSHOT_GRACE": 60.0, "RETRY_AFTER_FAILURE": 60.0, "QUEUE_LEASE": 120.0}
_READ_BACK = ("LEASE", "SNAPSHOT_GRACE", "RETRY_AFTER_FAILURE")


@dataclass
class Process:
    """One process of ours and its way to Redis."""

    proxy: RedisProxy
    child: Child
    api: Api | None = None
    asked_to_end: bool = False

    def tree(self) -> list[psutil.Process]:
        """The process and all that it started, itself first."""
        try:
            first = psutil.Process(self.child.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """At once, with all that it started, frozen or not."""
        self.asked_to_end = True
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(ProcessLookupError):
            self.child.kill()


class SoakedRedis(RedisServer):
    """One that can also be killed."""

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def pid(self) -> int:
        return self._child.process.pid

    def kill(self) -> None:
        RedisServer.running.discard(self)
        self._child.kill()


@dataclass
class Stack:
    """`lease`, `grace` and `retry_after` (a failure) in seconds, as its processes have them."""

    directory: Path
    redis: SoakedRedis
    deployment: Deployment
    lease: float
    grace: float
    retry_after: float
    _apis: dict[int, Process] = field(default_factory=dict)
    _workers: dict[int, Process] = field(default_factory=dict)
    _ended: list[Process] = field(default_factory=list)
    _starting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def apis(self) -> list[Process]:
        return [self._apis[at] for at in sorted(self._apis)]

    @property
    def workers(self) -> list[Process]:
        return [self._workers[at] for at in sorted(self._workers)]

    @property
    def passing(self) -> float:
        """What expires within so many seconds was replaced, or is being given up."""
        return max(self.grace, self.lease) + 1

    @property
    def bucket(self) -> Path:
        return self.directory / "bucket"

    def client(self) -> Redis:
        """To the server itself, past every proxy."""
        return Redis(port=self.redis.port, socket_timeout=5)

    @property
    def proxies(self) -> list[RedisProxy]:
        return [process.proxy for process in (*self.apis, *self.workers)]

    def add(self, made: SyntheticSession, cluster: str) -> str:
        return copy(made, self.bucket, cluster)

    def session_directory(self, ref: str) -> Path:
        namespace, kind, cluster, session = ref.split("/")
        return self.bucket / "cluster-history" / kind / namespace / cluster / session

    def remove(self, ref: str) -> None:
        namespace, kind, cluster, _ = ref.split("/")
        shutil.rmtree(self.session_directory(ref).parent, ignore_errors=True)
        shutil.rmtree(self.bucket / "cluster-metadata" / kind / f"{namespace}_{cluster}", ignore_errors=True)

    def start_api(self, at: int) -> None:
        """In place of a dead one, or as the next."""
        proxy = self._apis[at].proxy if at in self._apis else RedisProxy(self.redis.port)
        api = self.deployment.api(REDIS_URL=proxy.url)
        self._apis[at] = Process(proxy, api.child, api)

    def start_worker(self, at: int) -> None:
        dead = self._workers.get(at)
        proxy = dead.proxy if dead else RedisProxy(self.redis.port)
        self._workers[at] = Process(proxy, self.deployment.worker(1, REDIS_URL=proxy.url))
        self._ended += [dead] if dead else []

    def works(self) -> bool:
        """Whether any worker is there to take tasks: one that ends takes none."""
        return any(process.child.runs() and not process.asked_to_end for process in self.workers)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """While inside, a worker that has ended is started again, as orchestrators do."""
        ended = threading.Event()

        def supervise() -> None:
            while not ended.wait(0.2):
                with self._starting, suppress(AssertionError):
                    for at, process in list(self._workers.items()):
                        if not process.child.runs() and not ended.is_set():
                            self.start_worker(at)

        thread = threading.Thread(target=supervise, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def ended_by_themselves(self) -> list[int]:
        """Exit codes of workers that nobody had asked to end, or killed, since this was last asked."""
        gone = [*self._ended, *(process for process in self.workers if not process.child.runs())]
        codes = [process.child.process.returncode for process in gone if not process.asked_to_end]
        for process in gone:
            process.asked_to_end = True
        self._ended.clear()
        return codes

    def mend(self) -> None:
        """Everything runs again as before any fault."""
        for proxy in self.proxies:
            proxy.reset()
        if not self.redis_answers():
            self.redis.stop()
            self.redis.start()
        starting = [(self.start_api, at) for at, process in self._apis.items() if not process.child.runs()]
        with self._starting:
            at_once(starting + [(self.start_worker, at) for at, process in self._workers.items() if not process.child.runs()])

    def redis_answers(self) -> bool:
        try:
            with self.client() as client:
                client.execute_command("REPLICAOF", "NO", "ONE")
                client.config_set("maxmemory", 0)
                return bool(client.ping())
        except RedisError:
            return False

    def worker_logs(self) -> dict[Path, int]:
        """How long the logs of all workers are, those of dead ones included."""
        return {log: log.stat().st_size for log in self.directory.glob("worker-*.log")}

    def set_trap(self, trap: Trap | None) -> None:
        """At a command of any worker."""
        for process in self.workers:
            process.proxy.set(trap)

    def quiet(self, timeout: float) -> bool:
        """Whether no message waits or is worked on, within so many seconds."""
        deadline = time.monotonic() + timeout
        with self.client() as client:
            while time.monotonic() < deadline:
                with suppress(RedisError):
                    waiting = [name for name in client.scan_iter("*", count=1000, _type="list") if b"celery" in name]
                    taken = sum(client.hlen(name) for name in client.scan_iter("*unacked", count=1000))
                    if not taken and not any(client.llen(name) for name in waiting):
                        return True
                time.sleep(0.05)
        return False


def at_once(starting: list[tuple[Callable[[int], None], int]]) -> None:
    """Processes take a second or two to start: all of them at the same time. Raises what the first that failed raised."""
    failed: list[BaseException] = []

    def run(start: Callable[[int], None], at: int) -> None:
        try:
            start(at)
        except BaseException as exc:  # noqa: BLE001 - handed to who asked
            failed.append(exc)

    threads = [threading.Thread(target=run, args=one) for one in starting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def running(directory: Path, warm: WarmStart, server: str, *, quick: bool, one_task: bool = False) -> Iterator[Stack]:
    """A stack with short leases, or with those of a deployment that sets none. `one_task`: no session fans out."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "bucket").mkdir()
    settings = {**_ALWAYS, **({"PART_BYTES": 1 << 30} if one_task else {})}
    if quick:
        settings |= {**QUICK, **settings, "SNAPSHOT_GRACE": 2}
    redis = SoakedRedis(redis_binaries()[server], directory / "redis")
    deployment = _Deployment(directory, redis, {"STORAGE": f"file://{directory / 'bucket'}"}, warm=warm, **settings)
    if not quick:
        deployment.use_defaults(set(QUICK) - set(_ALWAYS))
    stack = Stack(directory, redis, deployment, *_seconds(settings if quick else {}))
    try:
        at_once([(stack.start_api, 0), (stack.start_api, 1), (stack.start_worker, 0), (stack.start_worker, 1)])
        yield stack
    finally:
        for process in (*stack.workers, *stack.apis):
            process.kill()
        deployment.close()
        for proxy in stack.proxies:
            proxy.close()
        redis.stop()


def _seconds(settings: dict[str, object]) -> list[float]:
    found = {**_DEFAULT, **settings}
    return [float(str(found[name])) for name in _READ_BACK]


class _Deployment(Deployment):
    """One that can leave settings alone."""

    def use_defaults(self, names: set[str]) -> None:
        for name in names:
            self._environment.pop(f"RAY_HISTORY_{name}", None)
