"""A client of the server's own routes, with the token kept for it: problem details and outages become one-line failures.

`ray-history login` keeps tokens by server, in a file that only the user can read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx

from cli.data_directory import config_dir
from cli.output import Failed

VARIABLE = "RAY_HISTORY_TOKEN"


def token_for(server: str) -> str:
    """That of the environment, else the one that is kept for this server, or ""."""
    return os.environ.get(VARIABLE) or _kept().get(_origin(server), "")


def keep_token(server: str, token: str) -> None:
    """For the next commands."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else's from its first byte on.
    kept = _kept() | {_origin(server): token}
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(kept, stream)


def _kept() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file() -> Path:
    return config_dir() / "tokens.json"


def _origin(server: str) -> str:
    """A token goes to the server that it was given for only."""
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL:
        return server
    return f"{url.scheme}://{url.netloc.decode()}"


class Server:
    """One server by its address. Every method raises Failed with what the server said, or that it does not answer."""

    def __init__(self, address: str, timeout: float = 60.0, *, token: str = "") -> None:
        """`token`: other than that of RAY_HISTORY_TOKEN or of `ray-history login`."""
        if not address.startswith(("http://", "https://")):
            raise Failed(f"{address!r} is no address of a server: expected http://host:port")
        self._address = address.rstrip("/")
        token = token or token_for(self._address)
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(timeout=timeout, headers={"User-Agent": "ray-history", **bearer})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._client.close()

    def get(self, path: str, params: dict[str, str | int] | None = None) -> dict[str, Any]:
        return self._json("GET", path, params)

    def post(self, path: str) -> dict[str, Any]:
        return self._json("POST", path)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def has(self, path: str, params: dict[str, str | int]) -> bool:
        """Is there an answer, whatever is in it?"""
        with self._errors("HEAD", path):
            response = self._client.head(self._address + path, params=params)
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        self._check(response)
        return True

    def _json(self, method: str, path: str, params: dict[str, str | int] | None = None) -> dict[str, Any]:
        response = self._ask(method, path, params)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Failed(
                f"{self._address} is no Ray History Server: {method} {path} gave {response.headers.get('content-type', 'no content')}"
            )
        return answer

    def download(self, path: str, params: dict[str, str | int], into: IO[bytes]) -> None:
        """Write a whole answer of any size. Raises Failed for one that is cut off, too; OSError when it cannot be written."""
        with self._errors("GET", path), self._client.stream("GET", self._address + path, params=params) as response:
            if not response.is_success:
                response.read()
            self._check(response)
            for piece in response.iter_bytes():
                into.write(piece)

    def _ask(self, method: str, path: str, params: dict[str, str | int] | None = None) -> httpx.Response:
        with self._errors(method, path):
            response = self._client.request(method, self._address + path, params=params)
        self._check(response)
        return response

    @contextmanager
    def _errors(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise Failed(f"no server answers at {self._address}: is it running (`ray-history up`), or give --server ({exc})") from exc
        except httpx.HTTPError as exc:
            raise Failed(f"{self._address} did not answer {method} {path}: {exc or type(exc).__name__}") from exc

    def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            hint = " (RAY_HISTORY_TOKEN, or `ray-history login`)" if response.status_code == httpx.codes.UNAUTHORIZED else ""
            raise Failed(_problem(response) + hint)


def _problem(response: httpx.Response) -> str:
    """The line to show for an error answer: what it says itself, as problem details (RFC 9457) or as Ray's dashboard would."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and (said := body.get("detail") or body.get("title")):
        return f"{said} ({body.get('code', response.status_code)})"
    if isinstance(body, dict) and body.get("msg"):
        return str(body["msg"])
    if response.headers.get("content-type", "").startswith("text/plain") and response.text.strip():
        return " ".join(response.text.split())
    return f"{response.request.method} {response.request.url} gave {response.status_code} {response.reason_phrase}"
