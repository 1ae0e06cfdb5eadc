"""The recorded answers of a live dashboard behind the same pages that a recorded session gets: what its numbers are compared with."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from api.pages import Frontend, router
from api.pages.session_facts import SessionFacts
from shared.sessions import SessionRef
from shared.settings import ApiSettings
from tests.browser.walk import LIVE_FAILS
from tests.conformance.recording import Recording
from tests.waiting import wait_until

# A request of the pages that nobody recorded: the page that made it is not compared.
NOT_RECORDED = 599
_LOG = "/api/v0/logs/file"


class LiveAnswers:
    """What live answered, by URL below its dashboard; requests with headers of their own are no browser's."""

    def __init__(self, recording: Recording) -> None:
        self._answers = {_normal(one.url): one for one in reversed(recording.answers) if not one.headers}

    def response(self, url: str) -> Response:
        found = self._answers.get(_normal(url))
        if self.lacks_log(url):
            return Response("", 200, media_type="text/plain")
        if found is None:
            fails = any(re.search(pattern, url.partition("?")[0]) for pattern, _ in LIVE_FAILS)
            return Response("never recorded", 404 if fails else NOT_RECORDED)
        kind = "application/json" if found.body[:1] in ("{", "[") else "text/plain"
        return Response(found.body, found.status, media_type=kind)

    def lacks_log(self, url: str) -> bool:
        """A log that was not recorded, or that live itself could not read: it is empty on both pages, so that the rest can be compared."""
        found = self._answers.get(_normal(url))
        return url.startswith(_LOG) and (found is None or found.status != 200)


@contextmanager
def recorded_live(recording: Recording, ref: SessionRef, facts: SessionFacts, builds: Path) -> Iterator[str]:
    """The address of the dashboard, with a final slash. `facts` are the served session's, so that both clocks stand at one time."""
    answers = LiveAnswers(recording)

    async def dashboard(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        await answers.response(f"{path}?{request.url.query}")(scope, receive, send)

    async def told(_state: Any, _ref: SessionRef) -> SessionFacts:
        return facts

    app = FastAPI()
    app.state.sessions = SimpleNamespace(status=_loaded)
    app.include_router(router)
    frontend = Frontend(dashboard, app.state, ApiSettings(dashboard_dir=str(builds)), facts=told)
    app.router.routes.append(Mount("/sessions/{namespace}/{kind}/{name}/{session}/dashboard", app=frontend))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, "the recorded live dashboard", 30)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/sessions/{quote(str(ref))}/dashboard/"
    finally:
        server.should_exit = True
        thread.join(30)


async def _loaded(ref: SessionRef) -> dict[str, Any]:
    return {"state": "loaded", "session": {"session": ref.session}}


def _normal(url: str) -> str:
    path, _, query = url.partition("?")
    return f"{path}?{urlencode(sorted(parse_qsl(query, keep_blank_values=True)))}"
