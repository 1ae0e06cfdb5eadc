"""A keep-alive HTTP client that costs next to nothing, so that the server is what is measured."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_TIMEOUT = 120.0
# Bodies are received into memory that this process has used before: new pages would be timed as if they were the server's doing.
_BUFFER = bytearray(b"\1") * (64 << 20)


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower-case. `seconds`: from sending the request to the body's last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class Connection:
    """One connection to a server on this machine. Only answers with a length (or without a body) are understood."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._socket.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises OSError when the server closes the connection."""
        request = request_bytes(method, path, headers)
        began = time.perf_counter()
        self._socket.sendall(request)
        status, found, begin, end = self._receive()
        seconds = time.perf_counter() - began
        return Answer(status, found, bytes(memoryview(_BUFFER)[begin:end]), seconds)

    def _receive(self) -> tuple[int, dict[str, str], int, int]:
        """Status, headers, and where the body lies in the buffer."""
        view, at, end = memoryview(_BUFFER), 0, -1
        while end < 0:
            at += self._more(view[at:])
            end = _BUFFER.find(b"\r\n\r\n", 0, at)
        first, *lines = _BUFFER[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status, begin = int(first.split(" ", 2)[1]), end + 4
        size = 0 if status in (204, 304) else int(headers["content-length"])
        assert begin + size <= len(_BUFFER), f"a body of {size} bytes"
        while at < begin + size:
            at += self._more(view[at : begin + size])
        return status, headers, begin, begin + size

    def _more(self, into: memoryview) -> int:
        taken = self._socket.recv_into(into)
        if not taken:
            raise ConnectionError("the server closed the connection")
        return taken


def request_bytes(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A request as a client would send it."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in (headers or {}).items()), "", ""]
    return "\r\n".join(lines).encode()
