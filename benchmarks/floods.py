"""What hostile clients cost one API process: memory, and the time that everybody else waits meanwhile.

    python -m benchmarks.floods [heads] [connections] [streams]

Heads of 100 MB, 10,000 connections that send half a head, 5,000 streams of load events. The bars: 50 MB, and 100 ms for 99 of 100 `/livez`.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.http_client import Connection
from benchmarks.server import Server
from shared.settings import StorageSettings

_HEADS, _HEAD_BYTES = 5, 100_000_000
_CONNECTIONS, _STREAMS = 10_000, 5_000
_HEADS_SECONDS, _HELD_SECONDS = 5.0, 15.0
_REF = "default/raycluster/flooded/session_2026-11-23_19-00-40_785172_1"
_CHUNK = b"a" * 65_536


@dataclass
class _Watch:
    """Asks `/livez` and looks at the memory until it is ended."""

    server: Server
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        process = self.server.api_process()
        while not self.over.wait(0.02):
            began = time.perf_counter()
            with suppress(OSError), Connection(self.server.port) as connection:
                connection.get("/livez")
            self.seconds.append(time.perf_counter() - began)
            self.peak = max(self.peak, process.memory_info().rss)


async def _heads(port: int) -> str:
    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        sent = 0
        with suppress(ConnectionError):
            while sent < _HEAD_BYTES and not reader.at_eof():
                writer.write(_CHUNK)
                await writer.drain()
                sent += len(_CHUNK)
        writer.close()
        return sent

    sent: list[int] = []
    until = time.monotonic() + _HEADS_SECONDS
    while time.monotonic() < until:
        sent += await asyncio.gather(*(one() for _ in range(_HEADS)))
    return f"{len(sent)} heads, {_HEADS} at once, cut off after {max(sent) / 1e6:.1f} MB at most"


async def _connections(port: int) -> str:
    opened = []
    for _ in range(_CONNECTIONS):
        with suppress(OSError):
            opened.append((await asyncio.open_connection("127.0.0.1", port))[1])
            opened[-1].write(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
    await asyncio.sleep(_HELD_SECONDS)
    for writer in opened:
        writer.close()
    return f"{len(opened)} connections with half a head"


async def _streams(port: int) -> str:
    async def one() -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /sessions/{_REF}/events HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            first = await asyncio.wait_for(reader.readline(), 60)
            opened.append(writer)
        except (OSError, TimeoutError):
            return b""
        return first[9:12]

    opened: list[asyncio.StreamWriter] = []
    answers: list[bytes] = []
    for _ in range(0, _STREAMS, 250):
        answers += await asyncio.gather(*(one() for _ in range(250)))
    await asyncio.sleep(_HELD_SECONDS)
    for writer in opened:
        writer.close()
    return f"{answers.count(b'200')} streams, {answers.count(b'503')} refused, {answers.count(b'')} without an answer"


_FLOODS: dict[str, Callable[[int], Coroutine[Any, Any, str]]] = {"heads": _heads, "connections": _connections, "streams": _streams}


def _measure(server: Server, name: str) -> None:
    server.start_api()
    before = _Watch(server)
    watching = threading.Thread(target=before.run)
    watching.start()
    time.sleep(3)
    before.over.set()
    watching.join()
    watch = _Watch(server)
    watching = threading.Thread(target=watch.run)
    watching.start()
    said = asyncio.run(_FLOODS[name](server.port))
    watch.over.set()
    watching.join()
    slow, usual = (sorted(one.seconds)[int(len(one.seconds) * 0.99)] * 1000 for one in (watch, before))
    print(f"{name}: {said}; RSS +{(watch.peak - before.peak) / 1e6:.0f} MB; /livez p99 {slow:.0f} ms (before: {usual:.0f} ms)", flush=True)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as directory:
        bucket = Path(directory) / "bucket"
        marker = bucket / "cluster-metadata" / "raycluster" / "default_flooded" / _REF.rsplit("/", 1)[1]
        marker.parent.mkdir(parents=True)
        marker.touch()
        server = Server(StorageSettings(storage=bucket.as_uri()), Path(directory))
        try:
            server.start(1)
            server.end_workers()
            with server.connect() as connection:
                connection.request("POST", f"/sessions/{_REF}/load")
            for name in sys.argv[1:] or _FLOODS:
                _measure(server, name)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
