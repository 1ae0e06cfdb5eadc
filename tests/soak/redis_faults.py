"""Faults of Redis, of the way to it, and of the queue in it."""

from __future__ import annotations

import json
import shutil
import signal
import time
import uuid
from contextlib import suppress

import psutil
from redis.exceptions import RedisError

from tests.soak import redis_state
from tests.soak.moments import READING, WHILE_LOADING
from tests.soak.scene import Fault, Scene

_ANY_TIME = (*WHILE_LOADING, *READING)


def _restart(scene: Scene, away: float = 0.0, *, data: bool = True) -> None:
    redis = scene.stack.redis
    if scene.chance.random() < 0.5:
        redis.kill()
    else:
        redis.stop()
    if not data:
        for path in redis.directory.glob("appendonly*"):
            shutil.rmtree(path)
    time.sleep(away)
    redis.start()


def _freeze(scene: Scene) -> None:
    server = psutil.Process(scene.stack.redis.pid)
    server.send_signal(signal.SIGSTOP)
    scene.pause(0.5, 8)
    server.send_signal(signal.SIGCONT)


def _fill(scene: Scene) -> None:
    """What Redis has is all it may have: writes are refused."""
    with scene.stack.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
        scene.pause(0.5, 2)
        client.config_set("maxmemory", 0)


def _read_only(scene: Scene) -> None:
    """What a failover looks like: writes are refused by what has become a replica."""
    with scene.stack.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        scene.pause(0.5, 2)
        client.execute_command("REPLICAOF", "NO", "ONE")


def _flush(scene: Scene) -> None:
    with scene.stack.client() as client:
        client.flushall()


def _evict_keys(scene: Scene) -> None:
    """What a Redis with an eviction policy does under memory pressure: single keys of the session go."""
    with scene.stack.client() as client:
        for _ in range(scene.chance.choice((1, 1, 2))):
            if names := redis_state.keys_of(client, scene.ref):
                client.delete(scene.chance.choice(names))
            scene.pause(0, 0.5)


def _kill_clients(scene: Scene) -> None:
    with scene.stack.client() as client:
        for _ in range(scene.chance.choice((1, 1, 4))):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal")
            scene.pause(0, 0.5)


def _pause_clients(scene: Scene) -> None:
    with scene.stack.client() as client:
        client.execute_command("CLIENT", "PAUSE", scene.chance.randint(300, 6000), scene.chance.choice(("ALL", "WRITE")))


def _lose_replies(scene: Scene) -> None:
    """Redis does what it is told, and the answer never arrives: the client sends the command again."""
    match = scene.chance.choice((b"EVALSHA", b"EVALSHA", b"MULTI", b"LPUSH", b"H", b""))
    for process in (*scene.stack.apis, *scene.stack.workers):
        process.proxy.lose_replies(scene.chance.randint(0, 20) if match != b"LPUSH" else 0, scene.chance.choice((1, 1, 3)), match)


def _stall(scene: Scene) -> None:
    """One process' connections stay open, and nothing passes."""
    proxy = scene.any_process().proxy
    proxy.stall(on=True)
    scene.pause(0.5, scene.stack.lease * 1.5)
    proxy.stall(on=False)


def _cut(scene: Scene) -> None:
    for _ in range(scene.chance.randint(1, 10)):
        scene.any_process().proxy.cut()
        scene.pause(0, 0.2)


def _duplicate(scene: Scene) -> None:
    """Every message is delivered again, at once or a little later, as its own copy or under its own tag."""
    scene.in_background(lambda: _copy_messages(scene))


def _copy_messages(scene: Scene) -> None:
    seen: set[bytes] = set()
    due: list[tuple[float, str, str]] = []
    with scene.stack.client() as client:
        while not scene.ended.wait(0.01):
            with suppress(RedisError):
                for unacked in list(client.scan_iter("*unacked", count=1000)):
                    for tag, raw in client.hgetall(unacked).items():
                        if tag not in seen:
                            seen.add(tag)
                            message, _, queue = json.loads(raw)
                            if scene.chance.random() < 0.5:
                                message["properties"]["delivery_tag"] = str(uuid.uuid4())
                                seen.add(message["properties"]["delivery_tag"].encode())
                            if scene.chance.random() < 0.5:
                                message["headers"]["redelivered"] = True
                            place = unacked.decode().removesuffix("unacked") + queue
                            due.append(
                                (time.monotonic() + scene.chance.choice((0.0, 0.0, scene.chance.uniform(0, 3))), place, json.dumps(message))
                            )
                for one in [copy for copy in due if copy[0] <= time.monotonic()]:
                    client.lpush(one[1], one[2])
                    due.remove(one)


def _nothing(_: Scene) -> None:
    pass


REDIS_FAULTS = {
    "Redis restarted with its data": Fault(_restart, moments=_ANY_TIME),
    "Redis restarted empty": Fault(lambda scene: _restart(scene, data=False), moments=_ANY_TIME),
    "Redis away for 5 s": Fault(lambda scene: _restart(scene, 5.0), moments=("before", *_ANY_TIME)),
    "Redis frozen": Fault(_freeze, moments=_ANY_TIME),
    "Redis out of memory": Fault(_fill, moments=("before", *_ANY_TIME)),
    "Redis read-only": Fault(_read_only, moments=("before", *_ANY_TIME)),
    "FLUSHALL": Fault(_flush, moments=_ANY_TIME),
    "single keys evicted by Redis": Fault(_evict_keys, moments=_ANY_TIME),
    "CLIENT KILL": Fault(_kill_clients, moments=_ANY_TIME),
    "CLIENT PAUSE": Fault(_pause_clients, moments=_ANY_TIME),
    "replies lost": Fault(_lose_replies, moments=("before", *_ANY_TIME)),
    "network stalled": Fault(_stall, moments=_ANY_TIME),
    "connections cut": Fault(_cut, moments=_ANY_TIME),
    "every message duplicated": Fault(_nothing, moments=("at once",), prepare=_duplicate),
}
