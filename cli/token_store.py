"""Tokens that `ray-history login` keeps, by server, in a file that only the user can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx

from cli.data_directory import config_dir

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
