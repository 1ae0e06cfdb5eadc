"""Which `Host` names this server answers to: a page whose name was rebound to our address (DNS rebinding) gives its own name."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from shared.settings import ApiSettings

_LOOPBACK_NAME = "localhost"
_ANY = "*"


class HostNames:
    """The names of one server.

    Without configured names a server that listens on loopback answers to loopback's names only, and any other to every name, as it
    cannot know how it is reached (Jupyter has the same rule). An address is always accepted: only a name can be rebound, and
    Kubernetes' probes ask by the pod's address.
    """

    def __init__(self, names: tuple[str, ...], listening_on: str) -> None:
        """`names`: as in `RAY_HISTORY_HOST_NAMES`; one that begins with `*.` or `.` stands for everything below it."""
        self._any = _ANY in names or (not names and not is_loopback(listening_on))
        self._exact = frozenset(name.lower().rstrip(".") for name in names)
        self._below = tuple("." + name.lower().lstrip("*").strip(".") for name in names if name.startswith(("*.", ".")))
        self.allowed = lru_cache(maxsize=256)(self._allowed)

    @classmethod
    def of(cls, settings: ApiSettings) -> HostNames:
        return cls(settings.names, settings.host)

    @property
    def any(self) -> bool:
        """Every name is accepted: nothing stands against DNS rebinding."""
        return self._any

    def _allowed(self, host: bytes) -> bool:
        """`host`: the value of a `Host` header, or the part of an `Origin` behind `://`."""
        if self._any:
            return True
        name = name_of(host)
        return name == _LOOPBACK_NAME or _is_address(name) or name in self._exact or name.endswith(self._below)

    def names(self, host: bytes) -> bool:
        """Is it one of the configured names?"""
        name = name_of(host)
        return name in self._exact or bool(self._below and name.endswith(self._below))


def name_of(host: bytes) -> str:
    """Without the port and the brackets of IPv6; in small letters."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """Does a server that listens on `host` have local clients only?"""
    if host.lower() == _LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
