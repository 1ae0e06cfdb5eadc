"""The caller of the request under way, and what they may do in which namespace.

A route that lists asks `visible_namespaces`; one that leads to a session need not ask, as `api.sessions.service.Sessions` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Action = Literal["see", "load", "evict", "live"]
ACTIONS: tuple[Action, ...] = get_args(Action)


class Rights(Protocol):
    """What one caller may do."""

    async def may(self, namespace: str, action: Action) -> bool:
        """Raises KubernetesUnavailable where Kubernetes decides and cannot be asked."""
        ...

    async def visible(self, namespaces: frozenset[str]) -> frozenset[str]:
        """Those of `namespaces` in which the caller may see sessions."""
        ...


class AllRights:
    """Everything, everywhere."""

    async def may(self, namespace: str, action: Action) -> bool:  # noqa: ARG002 - as of Rights
        return True

    async def visible(self, namespaces: frozenset[str]) -> frozenset[str]:
        return namespaces


class NoRights:
    """Nothing, nowhere."""

    async def may(self, namespace: str, action: Action) -> bool:  # noqa: ARG002 - as of Rights
        return False

    async def visible(self, namespaces: frozenset[str]) -> frozenset[str]:  # noqa: ARG002 - as of Rights
        return frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """`name`: for logs and limits; without a login the client's address."""

    name: str
    rights: Rights


NOBODY = Caller("", NoRights())
# Outside of a request, and where the middleware is missing, nothing is allowed.
_current: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current_caller() -> Caller:
    return _current.get()


@contextmanager
def acting_as(caller: Caller) -> Iterator[None]:
    """What is asked inside is asked by `caller`."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


async def may(namespace: str, action: Action) -> bool:
    """May the caller do that in this namespace?"""
    return await _current.get().rights.may(namespace, action)


async def visible_namespaces(namespaces: Iterable[str]) -> frozenset[str]:
    """Those of `namespaces` in which the caller may see sessions: what a list shows, searches and counts."""
    return await _current.get().rights.visible(frozenset(namespaces))
