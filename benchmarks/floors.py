"""Floors: what the machine needs at least. Each is measured in a process of its own, in the same run as what stands beside it.

python -m benchmarks.floors decode FILE ...   flat decode of event files, in memory already, on one core
python -m benchmarks.floors send PORT FILE    a bare ASGI app that answers every request with the file's bytes
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn

from benchmarks.flat_events import FlatEvent
from benchmarks.http_client import Connection
from cli import allocator
from cli.embedded_server import free_port
from cli.processes import Processes

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_READY = 30.0


_decode_lines = msgspec.json.Decoder(FlatEvent, strict=False).decode_lines


def decode_floor(files: Iterable[Path]) -> float:
    """Seconds, in a process that has the workers' memory settings."""
    command = [sys.executable, "-m", "benchmarks.floors", "decode", *map(str, files)]
    done = subprocess.run(command, env={**os.environ, **allocator.WORKER}, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))


@contextmanager
def sender(body: bytes, directory: Path) -> Iterator[Connection]:
    """A connection to the bare app that sends a body."""
    file, port, process = directory / "body", free_port(), Processes()
    file.write_bytes(body)

    def answers() -> bool:
        try:
            with Connection(port) as connection:
                return connection.get("/").status == 200
        except OSError:
            return False

    try:
        process.start("send floor", [sys.executable, "-m", "benchmarks.floors", "send", str(port), str(file)], grace=5)
        process.wait_until(answers, "send floor", _READY)
        with Connection(port) as connection:
            yield connection
    finally:
        process.end()


def _decode(files: list[Path]) -> float:
    """Unpacked and read beforehand, one file after the other, so that memory holds one text at a time."""
    seconds = 0.0
    gc.disable()
    for file in files:
        data = file.read_bytes()
        text = gzip.decompress(data) if file.suffix == ".gz" else data
        began = time.perf_counter()
        _decode_lines(text)
        seconds += time.perf_counter() - began
    return seconds


def _send(port: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # As cli/run_api.py runs the API.
    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "log_config": None, "access_log": False, "server_header": False}
    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off", **options)


if __name__ == "__main__":
    if sys.argv[1] == "decode":
        print(json.dumps(_decode([Path(name) for name in sys.argv[2:]])))
    else:
        _send(int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
