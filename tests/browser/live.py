"""The recorded answers of a live dashboard behind the same pages that a recorded session gets: what its numbers are compared with."""

from __future__ import annotations

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
from tests.conformance.recording import Recording
from tests.waiting import wait_until

# A request of the pages that nobody recorded: the page that made it is not compared.
NOT_RECORDED = 599


@contextmanager
def recorded_live(recording: Recording, ref: SessionRef, facts: SessionFacts, builds: Path) -> Iterator[str]:
    """The address of the dashboard, with a final slash. `facts` are the served session's, so that both clocks stand at one time."""
    answers = {_normal(one.url): one for one in reversed(recording.answers) if not one.headers}

    async def replay(request: Request) -> Response:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        found = answers.get(_normal(f"{path}?{request.url.query}"))
        if found is None:
            return Response("never recorded", NOT_RECORDED)
        kind = "application/json" if found.body[:1] in ("{", "[") else "text/plain"
        return Response(found.body, found.status, media_type=kind)

    async def dashboard(scope: Any, receive: Any, send: Any) -> None:
        await (await replay(Request(scope, receive)))(scope, receive, send)

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
