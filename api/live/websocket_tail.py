"""What a live head sends through a websocket, as the answer to a GET, which `api/websocket.py` sends on in messages.

`ray job logs --follow` and `ray job submit` follow the log of a job that runs.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from api.live.headers import Headers

# As Ray's client takes.
_LARGEST_MESSAGE = 4 << 20


async def tail(
    url: httpx.URL, headers: Headers, *, tls: ssl.SSLContext | None, server_name: str | None, proxy: str | None
) -> httpx.Response:
    """200 and a body that lasts as long as the websocket, or the answer that the head gave instead of it.

    Raises httpx.ConnectError. `tls` and `server_name` are for https URLs; `proxy` is the URL of an HTTP proxy.
    """
    encrypted = url.scheme == "https"
    try:
        connection = await _Connect(
            str(url.copy_with(scheme="wss" if encrypted else "ws")),
            additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
            user_agent_header=None,
            ssl=(tls or ssl.create_default_context()) if encrypted else None,
            server_hostname=server_name if encrypted else None,
            proxy=proxy,
            max_size=_LARGEST_MESSAGE,
            # The caller's.
            open_timeout=None,
        )
    except InvalidStatus as exc:
        refusal = exc.response
        return httpx.Response(
            refusal.status_code, headers=list(refusal.headers.raw_items()), stream=httpx.ByteStream(bytes(refusal.body or b""))
        )
    except (OSError, WebSocketException) as exc:
        raise httpx.ConnectError(str(exc)) from exc
    return httpx.Response(200, headers={"content-type": "text/plain; charset=utf-8"}, stream=_Messages(connection))


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Nowhere else: a head does not say what we connect to."""
        return exc


class _Messages(httpx.AsyncByteStream):
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for message in self._connection:
                yield message.encode() if isinstance(message, str) else message
        except ConnectionClosed as exc:
            raise httpx.ReadError(f"the head broke off the websocket: {exc}") from exc

    async def aclose(self) -> None:
        await self._connection.close()
