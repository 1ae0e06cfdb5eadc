"""A keep-alive HTTP client that costs next to nothing, so that the server is what is measured."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_TIMEOUT = 120.0
_CHUNK = 1 << 16


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
        status, found, body = self._read()
        return Answer(status, found, body, time.perf_counter() - began)

    def _read(self) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._some()
        first, *lines = received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status, begun = int(first.split(" ", 2)[1]), received[end + 4 :]
        size = 0 if status in (204, 304) else int(headers["content-length"])
        if len(begun) >= size:
            return status, headers, begun
        body = bytearray(size)
        body[: len(begun)] = begun
        view, at = memoryview(body), len(begun)
        while at < size:
            taken = self._socket.recv_into(view[at:])
            if not taken:
                raise ConnectionError("the server closed the connection within a body")
            at += taken
        return status, headers, bytes(body)

    def _some(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def request_bytes(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A request as a client would send it."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in (headers or {}).items()), "", ""]
    return "\r\n".join(lines).encode()
