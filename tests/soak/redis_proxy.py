"""A TCP proxy between one process and Redis: it loses replies, stalls, cuts connections, and stops the process at a chosen command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

# How workers and their queue wait for something to do: no step of a load.
_IDLE = (b"BRPOP", b"PING", b"PUBLISH", b"CLIENT")
_HOLD = 10.0


class Trap:
    """Springs at the `number`-th command that contains `match`, counted over every proxy it is set in.

    The command is held while `action` runs, or until `released`; `forward` says whether it reaches Redis then.
    """

    def __init__(self, number: int, *, match: bytes = b"", forward: bool = True, action: Callable[[], object] | None = None) -> None:
        self._left = number
        self._match = match
        self.forward = forward
        self.reached = threading.Event()
        self.released = threading.Event()
        self.action = action or (lambda: self.released.wait(_HOLD))

    def springs(self, data: bytes) -> bool:
        if self.reached.is_set() or self._match not in data:
            return False
        self._left -= 1
        if self._left > 0:
            return False
        self.reached.set()
        return True


class RedisProxy:
    """Listens on a loopback port of its own, in a thread of its own."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.StreamWriter] = set()
        self._trap: Trap | None = None
        self._loses: Callable[[bytes], bool] = lambda _: False
        self._flows = asyncio.Event()
        self._flows.set()
        self.lost = 0
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._start()).result(10)
        self.port = int(server.sockets[0].getsockname()[1])

    def _start(self) -> asyncio.AbstractEventLoop:
        threading.Thread(target=self._loop.run_forever, name="redis-proxy", daemon=True).start()
        return self._loop

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def set(self, trap: Trap | None) -> None:
        self._trap = trap

    def lose_replies(self, skip: int, count: int, match: bytes = b"") -> None:
        """After `skip` commands that contain `match`, run `count` and close the connection instead of passing their replies on."""
        left = [skip + count]

        def loses(data: bytes) -> bool:
            if match not in data or left[0] <= 0:
                return False
            left[0] -= 1
            return left[0] < count

        self._loses = loses

    def stall(self, *, on: bool) -> None:
        """While on, connections stay open and nothing passes."""
        self._loop.call_soon_threadsafe(self._flows.clear if on else self._flows.set)

    def cut(self) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._close_all)

    def reset(self) -> None:
        self._trap = None
        self._loses = lambda _: False
        self.stall(on=False)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _close_all(self) -> None:
        for writer in self._connections:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        ours = {writer, below}
        self._connections |= ours
        losing = asyncio.Event()
        try:
            passing = [asyncio.ensure_future(one) for one in (self._requests(reader, below, losing), self._replies(above, writer, losing))]
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            for one in passing:
                one.cancel()
        finally:
            self._connections -= ours
            for each in ours:
                each.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                if not any(word in data for word in _IDLE):
                    trap = self._trap
                    if trap and trap.springs(data):
                        await asyncio.to_thread(trap.action)
                        if not trap.forward:
                            return
                    if self._loses(data):
                        self.lost += 1
                        losing.set()
                writer.write(data)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                if losing.is_set():
                    return
                writer.write(data)
                await writer.drain()
