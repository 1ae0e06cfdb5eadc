"""A wrong Redis or broker URL stops the start of every process with one line that names the variable and no secret."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded_server import free_port
from shared.broker import check_broker
from shared.errors import SettingsError
from shared.settings import RedisSettings
from shared.store.client import open_redis
from shared.store.start_check import check_redis
from tests.servers import Child, RedisServer, redis_binaries
from tests.waiting import wait_until

SECRET = "s3cret"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """A master with a password and 4 databases, its replica, a node of a cluster, a Sentinel, and what is no Redis."""
    found = {name: free_port() for name in ("master", "replica", "node", "sentinel")}
    directory = tmp_path_factory.mktemp("wrong")
    sentinel = directory / "sentinel.conf"
    sentinel.write_text(
        f"port {found['sentinel']}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {found['master']} 1\nsentinel auth-pass main {SECRET}\n"
    )
    options = {
        "master": ["--requirepass", SECRET, "--databases", "4"],
        "replica": ["--replicaof", "127.0.0.1", str(found["master"]), "--masterauth", SECRET],
        # By itself its bus would listen on a port 10000 higher, which an outgoing connection may have.
        "node": ["--cluster-enabled", "yes", "--cluster-port", str(free_port())],
    }
    binary = redis_binaries()["valkey"]
    children = [Child("sentinel", [binary, str(sentinel), "--sentinel"], directory)]
    for name, more in options.items():
        (directory / name).mkdir()
        plain = [binary, "--bind", "127.0.0.1", "--port", str(found[name]), "--save", "", "--dir", str(directory / name)]
        children.append(Child(name, [*plain, *more], directory))
    for port in found.values():
        wait_until(lambda port=port: _listens(port), f"the server at {port}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_web_server, args=(other,), daemon=True).start()
        yield found | {"web": other.getsockname()[1], "closed": free_port()}
    for child in children:
        child.kill()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _web_server(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


WRONG = [
    ("redis://:other{secret}@127.0.0.1:{master}/0", "refuses user or password"),
    ("redis://127.0.0.1:{master}/0", "refuses user or password"),
    ("redis://:{secret}@127.0.0.1:{master}/9", "has no database 9"),
    ("redis://127.0.0.1:{replica}/0", "is a read-only replica"),
    ("redis://127.0.0.1:{node}/0", "is a node of a Redis Cluster"),
    ("redis://127.0.0.1:{sentinel}/0", "a Sentinel where a Redis was expected"),
    ("redis://:{secret}@127.0.0.1:{web}/0", "is no Redis"),
    ("redis://:{secret}@127.0.0.1:{closed}/0", "does not answer: .*refused"),
    ("redis://:{secret}@nowhere.invalid/0", "does not answer: .*nowhere.invalid"),
    ("rediss://:{secret}@127.0.0.1:{master}/0", "does not answer"),
    ("unix://:{secret}@/nowhere.sock", "does not answer: .*No such file"),
    ("sentinel://:{secret}@127.0.0.1:{sentinel}/0?master=other", "the Sentinels know no such master"),
    ("sentinel://:{secret}@127.0.0.1:{closed}/0?master=main", "no Sentinel answers"),
    ("redis://:{secret}@127.0.0.1:{master}/0?colour=red", "has an option that there is not: 'colour'"),
]


@pytest.mark.parametrize(("url", "said"), [*WRONG, ("cluster://:{secret}@127.0.0.1:{master}", "is no Redis Cluster")])
def test_a_wrong_redis_url(ports: dict[str, int], url: str, said: str) -> None:
    settings = RedisSettings(redis_url=url.format(secret=SECRET, **ports), redis_timeout=1)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"^RAY_HISTORY_REDIS_URL: .*{said}") as caught:
        check_redis(settings)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("url", "said"), [*WRONG[:3], ("amqp://user:{secret}@127.0.0.1:{closed}/x", "cannot be used: .*refused")])
def test_a_wrong_broker_url(ports: dict[str, int], url: str, said: str) -> None:
    good = f"redis://:{SECRET}@127.0.0.1:{ports['master']}/0"
    settings = RedisSettings(redis_url=good, broker_url=url.format(secret=SECRET, **ports), redis_timeout=1)  # type: ignore[arg-type]
    check_redis(settings)
    with pytest.raises(SettingsError, match=f"^RAY_HISTORY_BROKER_URL: .*{said}") as caught:
        check_broker(settings)
    assert SECRET not in str(caught.value)


def test_a_right_sentinel_url(ports: dict[str, int]) -> None:
    url = f"sentinel://:{SECRET}@127.0.0.1:{ports['closed']},127.0.0.1:{ports['sentinel']}/1?master=main"
    settings = RedisSettings(redis_url=url, redis_timeout=2)  # type: ignore[arg-type]
    check_redis(settings)
    check_broker(settings)


@pytest.mark.parametrize("command", ["api", "worker", "flower", "up"])
def test_every_process_stops_with_one_line(tmp_path: Path, ports: dict[str, int], command: str) -> None:
    url = f"redis://:other{SECRET}@127.0.0.1:{ports['master']}/0"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_HISTORY_")}
    ours |= {
        "HOME": str(tmp_path),
        "RAY_HISTORY_REDIS_URL": url,
        "RAY_HISTORY_STORAGE": tmp_path.as_uri(),
        "RAY_HISTORY_FLOWER_PASSWORD": "x",
    }
    done = subprocess.run([sys.executable, "-m", "cli", command], env=ours, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ray-history: RAY_HISTORY_REDIS_URL: 127.0.0.1:{ports['master']} refuses user or password")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr + done.stdout


def test_whoever_finds_all_connections_taken_waits(redis_server: RedisServer) -> None:
    settings = RedisSettings(redis_url=redis_server.url(), redis_connections=2)  # type: ignore[arg-type]
    with open_redis(settings) as client:
        threads = [threading.Thread(target=client.blpop, args=("absent", 0.1)) for _ in range(20)]
        failed: list[object] = []
        threading.excepthook, former = (lambda args: failed.append(args.exc_value)), threading.excepthook
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            threading.excepthook = former
        assert not failed
