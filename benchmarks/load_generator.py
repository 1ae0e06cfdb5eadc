"""As many requests as a server answers, over keep-alive connections, from a process of its own.

    python -m benchmarks.load_generator PORT SECONDS CONNECTIONS < REQUEST

REQUEST is what each connection sends again and again; the figures come as JSON on standard output.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from typing import Any, cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = slice(9, 12)


class _Client(asyncio.Protocol):
    """Sends the request again as soon as its answer is complete."""

    def __init__(self, request: bytes, counts: Counter[bytes]) -> None:
        self._request = request
        self._counts = counts
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return
        length = _LENGTH.search(received, 0, end)
        if len(received) - end - 4 < (int(length[1]) if length and received[_STATUS] != b"304" else 0):
            self._received = received
            return
        self._received = b""
        self._counts[received[_STATUS]] += 1
        self._transport.write(self._request)


async def generate(port: int, seconds: float, connections: int, request: bytes) -> dict[str, Any]:
    """Requests per second, and how many answers had which status."""
    loop = asyncio.get_running_loop()
    counts: Counter[bytes] = Counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(request, counts), "127.0.0.1", port)
    await asyncio.sleep(seconds / 10)
    counts.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    return {"per_second": counts.total() / took, "statuses": {status.decode(): count for status, count in counts.items()}}


def requests_per_second(port: int, request: bytes, status: int, *, seconds: float, connections: int = 16) -> float:
    """From a process of its own. Raises AssertionError when another status than the wanted one came."""
    command = [sys.executable, "-m", "benchmarks.load_generator", str(port), str(seconds), str(connections)]
    found = json.loads(subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True).stdout)
    assert set(found["statuses"]) == {str(status)}, found
    return float(found["per_second"])


if __name__ == "__main__":
    print(json.dumps(uvloop.run(generate(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer.read()))))
