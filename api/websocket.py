"""A websocket that only sends: it is answered as the GET of its address is, whose text comes in messages.

So everything that holds for a request holds for it, from the login to the log of requests. `ray job logs --follow` opens one
(Ray: `JobHead.tail_job_logs`).
"""

from __future__ import annotations

import codecs
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# In a request's scope: a websocket asks. Scripts of other sites could read what it is sent, which no browser lets them of a GET.
WEBSOCKET = "websocket"
_SENDS = re.compile(r"(/sessions/[^/]+/[^/]+/[^/]+/[^/]+/dashboard)?/api/jobs/[^/]+/logs/tail/?")
# Ray's client takes messages of up to 4 MiB.
_MESSAGE = 16_384
# The text is wanted whole, as it is.
_OF_A_COPY = (b"accept-encoding", b"if-none-match", b"range")
_REFUSAL = "websocket.http.response"


class WebSocketGets:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or not _SENDS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        await receive()  # websocket.connect
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_A_COPY]
        scheme = "https" if scope["scheme"] == "wss" else "http"
        asked = {**scope, "type": "http", "method": "GET", "scheme": scheme, "headers": headers, "extensions": {}, WEBSOCKET: True}
        # Later versions expect `send` to tell that the client went: a log that grows slowly would not notice for long.
        asked["asgi"] = {**scope["asgi"], "spec_version": "2.3"}
        answer = _Answer(receive, send, may_refuse=_REFUSAL in (scope.get("extensions") or {}))
        await self._app(asked, answer.receive, answer.send)


class _Answer:
    """`may_refuse`: the server can send an HTTP answer instead of the handshake's."""

    def __init__(self, receive: Receive, send: Send, *, may_refuse: bool) -> None:
        self._receive = receive
        self._send = send
        self._may_refuse = may_refuse
        self._asked = False
        self._accepted = False
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        # What a client says is of no account.
        while (await self._receive())["type"] != "websocket.disconnect":
            pass
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._accepted = message["status"] == 200
            if self._accepted:
                await self._send({"type": "websocket.accept"})
            elif self._may_refuse:
                await self._send({**message, "type": f"{_REFUSAL}.start"})
            else:
                await self._send({"type": "websocket.close"})
        elif not self._accepted:
            if self._may_refuse:
                await self._send({**message, "type": f"{_REFUSAL}.body"})
        else:
            await self._send_text(message.get("body", b""), last=not message.get("more_body", False))

    async def _send_text(self, body: bytes, *, last: bool) -> None:
        text = self._decode(body, last)
        for begin in range(0, len(text), _MESSAGE):
            await self._send({"type": "websocket.send", "text": text[begin : begin + _MESSAGE]})
        if last:
            await self._send({"type": "websocket.close", "code": 1000})
