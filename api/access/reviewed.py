"""Callers whom Kubernetes knows: TokenReview says who they are, SubjectAccessReview what they may; each is kept for a while.

To see, load and watch a session live takes `get rayclusters` in its namespace, to evict one `delete rayclusters`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from cachetools import TTLCache

from api.access.caller import Action, Caller
from shared.live.reviews import Reviewed, Reviews

_VERBS: dict[Action, str] = {"see": "get", "load": "get", "live": "get", "evict": "delete"}
_EVERYWHERE = ""
_MOST_CALLERS = 4096
_MOST_ANSWERS = 4096
_AT_ONCE = 16
_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
Ask = Callable[[Reviewed, str, str], Awaitable[bool]]


class _Kept(Generic[_K, _V]):
    """Answers that are kept, and asked for once by all who wait. Failures are not kept."""

    def __init__(self, most: int, seconds: float) -> None:
        self._answers: TTLCache[_K, _V] = TTLCache(most, seconds)
        self._asking: dict[_K, asyncio.Task[_V]] = {}

    def known(self, key: _K) -> _V | None:
        return self._answers.get(key)

    async def get(self, key: _K, ask: Callable[[], Awaitable[_V]]) -> _V:
        answer = self._answers.get(key)
        if answer is not None:
            return answer
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._ask(key, ask))
        # Others wait for it, too: who leaves does not end it.
        return await asyncio.shield(task)

    async def _ask(self, key: _K, ask: Callable[[], Awaitable[_V]]) -> _V:
        try:
            answer = self._answers[key] = await ask()
            return answer
        finally:
            del self._asking[key]


class ReviewedRights:
    """What RBAC gives one user."""

    def __init__(self, user: Reviewed, ask: Ask, seconds: float) -> None:
        self._user = user
        self._ask = ask
        self._answers: _Kept[tuple[str, str], bool] = _Kept(_MOST_ANSWERS, seconds)

    async def may(self, namespace: str, action: Action) -> bool:
        verb = _VERBS[action]
        return bool(self._answers.known((verb, _EVERYWHERE))) or await self._review(verb, namespace)

    async def visible(self, namespaces: frozenset[str]) -> frozenset[str]:
        """Where more than one namespace is to be reviewed, all are asked for at once before each is."""
        verb = _VERBS["see"]
        unknown = [namespace for namespace in namespaces if self._answers.known((verb, namespace)) is None]
        if len(unknown) > 1 and await self._review(verb, _EVERYWHERE):
            return namespaces
        ordered = sorted(namespaces)
        allowed = await asyncio.gather(*(self.may(namespace, "see") for namespace in ordered))
        return frozenset(namespace for namespace, granted in zip(ordered, allowed, strict=True) if granted)

    async def _review(self, verb: str, namespace: str) -> bool:
        return await self._answers.get((verb, namespace), lambda: self._ask(self._user, verb, namespace))


class ReviewedCallers:
    """One per event loop."""

    def __init__(self, reviews: Reviews, seconds: float) -> None:
        """`seconds`: how long answers are kept."""
        self._reviews = reviews
        self._seconds = seconds
        # A token that nobody has is kept, too: the answer is an empty tuple then.
        self._callers: _Kept[bytes, tuple[Caller, ...]] = _Kept(_MOST_CALLERS, seconds)
        self._threads = anyio.CapacityLimiter(_AT_ONCE)

    async def of_token(self, token: str) -> Caller | None:
        """Raises KubernetesUnavailable."""
        # Not the token itself: what is kept may end in a dump.
        found = await self._callers.get(hashlib.sha256(token.encode()).digest(), lambda: self._who(token))
        return found[0] if found else None

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self._reviews.close)

    async def _who(self, token: str) -> tuple[Caller, ...]:
        user = await anyio.to_thread.run_sync(self._reviews.who, token, limiter=self._threads)
        return (Caller(user.name, ReviewedRights(user, self._may, self._seconds)),) if user else ()

    async def _may(self, user: Reviewed, verb: str, namespace: str) -> bool:
        return await anyio.to_thread.run_sync(self._reviews.may, user, verb, namespace, limiter=self._threads)
