"""A client of the server's own routes: problem details and outages become one-line failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, Self

import httpx

from cli.errors import Failed
from cli.token_store import token_for


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
