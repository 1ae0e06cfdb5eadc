"""Redis as operators have it, as real processes on loopback: a master with a replica and Sentinels, and a Cluster with replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import RedisError

from cli.embedded_server import free_port
from tests.servers import Child, redis_binaries
from tests.waiting import wait_until

_MASTER = "history"
_STARTED = 60.0
_SLOTS = 16384


class Topology(Protocol):
    """What loses a server that matters, and goes on."""

    url: str

    def lose_one(self) -> None:
        """Kill a server that holds data, as a machine that lost its power."""

    def recovered(self) -> bool:
        """Has another taken its place?"""


@contextmanager
def sentinels(directory: Path) -> Iterator[Topology]:
    """A master, a replica and three Sentinels, who miss the master after a second."""
    children: dict[int, Child] = {}
    try:
        yield _Sentinels(directory, children)
    finally:
        for child in children.values():
            child.kill()


@contextmanager
def cluster(directory: Path) -> Iterator[Topology]:
    """Three masters with a replica each, which take over after two seconds."""
    children: dict[int, Child] = {}
    try:
        yield _Cluster(directory, children)
    finally:
        for child in children.values():
            child.kill()


class _Sentinels:
    def __init__(self, directory: Path, children: dict[int, Child]) -> None:
        self._children = children
        self._master, self._replica, *self._sentinels = (free_port() for _ in range(5))
        _start(directory, children, self._master)
        _start(directory, children, self._replica, "--replicaof", "127.0.0.1", str(self._master))
        for port in self._sentinels:
            told = directory / f"sentinel-{port}.conf"
            told.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\nsentinel monitor {_MASTER} 127.0.0.1 {self._master} 2\n"
                f"sentinel down-after-milliseconds {_MASTER} 1000\nsentinel failover-timeout {_MASTER} 5000\n"
            )
            children[port] = Child(f"sentinel-{port}", [redis_binaries()["valkey"], str(told), "--sentinel"], directory)
        wait_until(lambda: all(self._sees_all(port) for port in self._sentinels), "Sentinels", _STARTED)
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinels)
        self.url = f"sentinel://{hosts}/0?master={_MASTER}"

    def lose_one(self) -> None:
        self._children[self._master].kill()

    def recovered(self) -> bool:
        return _ask(self._replica, "ROLE", [b"?"])[0] == b"master"

    def _sees_all(self, port: int) -> bool:
        said = _ask(port, "SENTINEL MASTER", {}, _MASTER)
        return said.get("num-slaves") == 1 and said.get("num-other-sentinels") == 2


class _Cluster:
    def __init__(self, directory: Path, children: dict[int, Child]) -> None:
        self._children = children
        self._ports = [free_port() for _ in range(6)]
        masters, replicas = self._ports[:3], self._ports[3:]
        # By themselves they would listen on other ports 10000 higher, which outgoing connections may have.
        buses = {port: free_port() for port in self._ports}
        for port in self._ports:
            _start(
                directory, children, port, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(buses[port])
            )
        wait_until(lambda: all(_ask(port, "PING", False) for port in self._ports), "the nodes", _STARTED)
        for number, port in enumerate(masters):
            first, last = number * _SLOTS // 3, (number + 1) * _SLOTS // 3 - 1
            _ask(port, "CLUSTER ADDSLOTSRANGE", None, first, last)
        for port in self._ports[1:]:
            _ask(port, "CLUSTER MEET", None, "127.0.0.1", masters[0], buses[masters[0]])
        wait_until(lambda: all(len(self._nodes(port)) == 6 for port in self._ports), "the nodes to meet", _STARTED)
        names = {port: _ask(port, "CLUSTER MYID", b"").decode() for port in masters}
        for master, replica in zip(masters, replicas, strict=True):
            wait_until(lambda m=master, r=replica: _ask(r, "CLUSTER REPLICATE", None, names[m]), "a replica", _STARTED)
        self._lost, self._heir = masters[1], replicas[1]
        wait_until(lambda: all(self._replicated(port) for port in masters), "replication", _STARTED)
        wait_until(
            lambda: all(_ask(port, "CLUSTER INFO", {}).get("cluster_state") == "ok" for port in self._ports), "the cluster", _STARTED
        )
        self.url = f"cluster://127.0.0.1:{masters[0]},127.0.0.1:{masters[1]}"

    def lose_one(self) -> None:
        self._children[self._lost].kill()

    def recovered(self) -> bool:
        return _ask(self._heir, "ROLE", [b"?"])[0] == b"master" and _ask(self._ports[0], "CLUSTER INFO", {}).get("cluster_state") == "ok"

    def _nodes(self, port: int) -> Any:
        return _ask(port, "CLUSTER NODES", {})

    def _replicated(self, port: int) -> bool:
        role = _ask(port, "ROLE", [b"?"])
        return role[0] == b"master" and len(role[2]) == 1


def _start(directory: Path, children: dict[int, Child], port: int, *options: str) -> None:
    where = directory / str(port)
    where.mkdir()
    plain = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--repl-diskless-sync-delay", "0", "--dir", str(where)]
    children[port] = Child(f"redis-{port}", [redis_binaries()["valkey"], *plain, *options], directory)


def _ask(port: int, command: str, otherwise: Any, *arguments: object) -> Any:
    """`otherwise`: when it does not answer, or refuses."""
    with Redis(port=port, socket_timeout=2) as client:
        try:
            return client.execute_command(command, *arguments)
        except RedisError:
            return otherwise
