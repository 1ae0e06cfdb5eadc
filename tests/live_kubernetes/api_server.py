"""A Kubernetes API server in memory: list in pages, watch with history and bookmarks, get, and the service proxy; RBAC where given.

What a test needs to see is in `requests`; what it needs to break is a method. Objects are changed from the test's thread.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.live_kubernetes.serving import serving

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHO = "/apis/authentication.k8s.io/v1/tokenreviews"
MAY = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
TOKEN = "our-service-account"
_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>proxy)(?P<rest>/.*)?)?)?"
)
_KINDS = {"rayclusters": "RayCluster", "rayservices": "RayService", "secrets": "Secret"}
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Asked:
    """One request in the words of RBAC."""

    verb: str
    group: str
    resource: str
    namespace: str | None
    name: str | None


@dataclass
class ApiServer:
    """`url` while `running()`. `allowed`: None, or the (verb, group, resource) that RBAC grants us.

    `users`: their names by token; `grants`: what they may do to RayClusters, as (user, verb, namespace), "" for all namespaces; `reviews`: the paths of
    the reviews that were asked for.
    """

    url: str = ""
    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    allowed: set[tuple[str, str, str]] | None = None
    services: dict[str, int] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    grants: set[tuple[str, str, str]] = field(default_factory=set)
    reviews: list[str] = field(default_factory=list)
    page: int = 500
    bookmark_every: float = 0.5
    hang: bool = False
    fail_with: int | None = None
    watch_seconds: float | None = None
    _objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    _history: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    _forgotten: int = 0
    _version: int = 100
    _watches: int = 0
    _cut: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[ApiServer]:
        """Listen; after an end, `running()` again takes the same port: an outage."""
        with serving(Starlette(routes=[Route("/{path:path}", self._handle, methods=METHODS)]), self.port) as port:
            self.port, self.url = port, f"http://127.0.0.1:{port}"
            yield self

    def put(self, body: dict[str, Any]) -> None:
        """Create or replace an object."""
        key = _key(body)
        with self._lock:
            self._version += 1
            what = "MODIFIED" if key in self._objects else "ADDED"
            body = json.loads(json.dumps(body))
            body["metadata"]["resourceVersion"] = str(self._version)
            self._objects[key] = body
            self._history.append((self._version, what, body))

    def delete(self, body: dict[str, Any]) -> None:
        with self._lock:
            self._version += 1
            gone = self._objects.pop(_key(body))
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self._version)}}
            self._history.append((self._version, "DELETED", gone))

    def cut_watches(self) -> None:
        """End every open watch in the middle of a line, as a broken connection does."""
        self._cut += 1

    def forget_history(self) -> None:
        """Every resource version so far is too old to watch from: 410."""
        with self._lock:
            self._history.clear()
            self._forgotten = self._version = self._version + 1

    @property
    def watches(self) -> int:
        """Open now."""
        return self._watches

    def asked(self, verb: str, resource: str = "rayclusters") -> int:
        return sum(1 for asked in list(self.requests) if (asked.verb, asked.resource) == (verb, resource))

    def kubeconfig(self, directory: Path, token: str = TOKEN) -> str:
        """A kubeconfig file for this server (JSON is YAML)."""
        path = directory / "kubeconfig"
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "us"}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "us", "user": {"token": token}}],
        }
        path.write_text(json.dumps(text))
        return str(path)

    async def _handle(self, request: Request) -> Response:
        if request.url.path == REVIEW:
            return await self._review(request)
        if request.url.path in (WHO, MAY):
            return await self._review_caller(request)
        match = _PATH.fullmatch(request.url.path)
        if match is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        asked = self._note(request, match)
        while self.hang:
            await asyncio.sleep(0.05)
            if await request.is_disconnected():
                break
        if self.fail_with:
            return _status(self.fail_with, "InternalError", "out of order")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        if self.allowed is not None and (asked.verb, asked.group, asked.resource) not in self.allowed:
            return _status(403, "Forbidden", f"cannot {asked.verb} {asked.resource}")
        if match["sub"]:
            return await self._proxy(request, match)
        if asked.verb == "watch":
            return self._watch(request, asked)
        if asked.verb == "list":
            return self._list(request, asked)
        with self._lock:
            found = self._objects.get((asked.resource, asked.namespace or "", asked.name or ""))
        if asked.verb != "get" or found is None:
            return _status(404, "NotFound", f'{asked.resource} "{asked.name}" not found')
        return JSONResponse(found)

    async def _review(self, request: Request) -> Response:
        asked = await request.json()
        attributes = asked["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
        allowed = self.allowed is None or (attributes["verb"], attributes.get("group", ""), resource) in self.allowed
        return JSONResponse({**asked, "status": {"allowed": allowed}}, 201)

    async def _review_caller(self, request: Request) -> Response:
        if self.fail_with:
            return _status(self.fail_with, "InternalError", "out of order")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        self.reviews.append(request.url.path)
        asked = await request.json()
        if request.url.path == WHO:
            name = self.users.get(asked["spec"]["token"])
            user = {"user": {"username": name, "groups": ["system:authenticated"]}} if name else {}
            return JSONResponse({**asked, "status": {"authenticated": bool(name), **user}}, 201)
        attributes = asked["spec"]["resourceAttributes"]
        assert (attributes["group"], attributes["resource"]) == ("ray.io", "rayclusters")
        user, verb, namespace = asked["spec"]["user"], attributes["verb"], attributes.get("namespace") or ""
        return JSONResponse({**asked, "status": {"allowed": bool({(user, verb, namespace), (user, verb, "")} & self.grants)}}, 201)

    def _note(self, request: Request, match: re.Match[str]) -> Asked:
        verb = _VERBS[request.method]
        if match["name"] is None and verb == "get":
            verb = "watch" if request.query_params.get("watch") in ("true", "True", "1") else "list"
        resource = f"{match['resource']}/proxy" if match["sub"] else match["resource"]
        asked = Asked(verb, match["group"] or "", resource, match["namespace"], match["name"])
        self.requests.append(asked)
        return asked

    def _list(self, request: Request, asked: Asked) -> Response:
        with self._lock:
            items = [body for key, body in sorted(self._objects.items()) if _wanted(key, asked)]
            version = str(self._version)
        start = int(request.query_params.get("continue") or 0)
        limit = min(self.page, int(request.query_params.get("limit") or self.page))
        metadata = {"resourceVersion": version, **({"continue": str(start + limit)} if start + limit < len(items) else {})}
        kind = f"{_KINDS[asked.resource]}List"
        return JSONResponse({"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata, "items": items[start : start + limit]})

    def _watch(self, request: Request, asked: Asked) -> Response:
        since = int(request.query_params.get("resourceVersion") or 0)
        seconds = self.watch_seconds or float(request.query_params.get("timeoutSeconds") or 300)
        return StreamingResponse(self._changes(asked, since, seconds), media_type="application/json")

    async def _changes(self, asked: Asked, since: int, seconds: float) -> AsyncIterator[str]:
        if since < self._forgotten:
            yield json.dumps({"type": "ERROR", "object": _status_body(410, "Expired", f"too old resource version: {since}")}) + "\n"
            return
        loop = asyncio.get_running_loop()
        end, bookmark, cut = loop.time() + seconds, loop.time() + self.bookmark_every, self._cut
        self._watches += 1
        try:
            while loop.time() < end:
                if self._cut != cut:
                    yield '{"type":"MODIFIED","obj'
                    raise ConnectionResetError("the test cut this watch")
                with self._lock:
                    news = [(v, what, body) for v, what, body in self._history if v > since and _wanted(_key(body), asked)]
                    since = max(since, self._version)
                for _, what, body in news:
                    yield json.dumps({"type": what, "object": body}) + "\n"
                if loop.time() >= bookmark:
                    bookmark = loop.time() + self.bookmark_every
                    yield json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(since)}}}) + "\n"
                await asyncio.sleep(0.01)
        finally:
            self._watches -= 1

    async def _proxy(self, request: Request, match: re.Match[str]) -> Response:
        """As the API server does: `Authorization` was for itself and is taken away."""
        service, _, port_name = match["name"].partition(":")
        port = self.services.get(f"{match['namespace']}/{service}")
        if port is None or port_name != "dashboard":
            return _status(503, "ServiceUnavailable", f'no endpoints available for service "{match["name"]}"')
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        client = httpx.AsyncClient(timeout=30, trust_env=False)
        raw_rest = request.scope["raw_path"].decode().split("/proxy", 1)[1]
        url = httpx.URL(f"http://127.0.0.1:{port}{raw_rest}", query=request.scope["query_string"])
        headers = [(n, v) for n, v in request.headers.raw if n not in (b"authorization", b"host")]
        sent = client.build_request(request.method, url, headers=headers, content=request.stream() if has_body else None)
        try:
            answer = await client.send(sent, stream=True)
        except httpx.HTTPError as exc:
            await client.aclose()
            return _status(503, "ServiceUnavailable", f"error trying to reach service: {exc}")

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()
                await client.aclose()

        passed = StreamingResponse(body(), answer.status_code)
        passed.raw_headers = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in (b"transfer-encoding", b"connection")]
        return passed


def _key(body: dict[str, Any]) -> tuple[str, str, str]:
    resource = next(resource for resource, kind in _KINDS.items() if kind == body["kind"])
    return resource, body["metadata"]["namespace"], body["metadata"]["name"]


def _wanted(key: tuple[str, str, str], asked: Asked) -> bool:
    return key[0] == asked.resource and asked.namespace in (None, key[1])


def _status_body(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}


def _status(code: int, reason: str, message: str) -> Response:
    return JSONResponse(_status_body(code, reason, message), code)
