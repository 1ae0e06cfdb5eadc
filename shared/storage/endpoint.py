"""Addresses of object stores."""

from __future__ import annotations

import re

from shared.errors import SettingsError

_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[\w./~-]*)?")


def check_endpoint(url: str, name: str) -> None:
    """Raises SettingsError, naming the variable, unless `url` is empty or an address that HTTP clients take."""
    if url and not _ENDPOINT.fullmatch(url):
        # Not repeated: it may hold a password.
        raise SettingsError(f"{name}: must be a URL like https://host[:port][/path], without user or query")
