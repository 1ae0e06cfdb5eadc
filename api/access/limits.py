"""How much one caller may ask of one process, and how many streams it serves at all."""

from __future__ import annotations

import re

from cachetools import LRUCache
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.caller import current_caller
from api.errors import problem
from shared.errors import TooManyRequests, TooManyStreams
from shared.rate_limit import RateLimit
from shared.settings import ApiSettings

_MOST_CALLERS = 10_000
_STREAMS_AT_FULL_PACE = 50


class _PerMinute:
    """A bucket for each caller: a minute's worth may be taken at once."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._buckets: LRUCache[str, RateLimit] = LRUCache(_MOST_CALLERS)

    def wait(self) -> float:
        """Seconds until the caller may again; 0: now."""
        return self._bucket().wait() if self._number else 0.0

    def take(self) -> None:
        if self._number:
            self._bucket().take(0.0)

    def _bucket(self) -> RateLimit:
        name = current_caller().name
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = RateLimit(self._number / 60, self._number)
        return bucket


class CallerLimits:
    """One per process."""

    def __init__(self, settings: ApiSettings) -> None:
        self._loads = _PerMinute(settings.loads_per_minute)
        self._lists = _PerMinute(settings.lists_per_minute)
        self._most_streams = settings.event_streams
        self._streams = 0
        self._most_exports = settings.exports
        self._exports = 0

    def wait_for_load(self) -> float:
        """Seconds until the caller may start another load; 0: now."""
        return self._loads.wait()

    def note_load(self) -> None:
        """The caller started a load."""
        self._loads.take()

    def note_listing(self) -> None:
        """The caller wants a listing. Raises TooManyRequests."""
        if wait := self._lists.wait():
            raise TooManyRequests("you have asked for as many listings as one caller may in a minute", retry_after=wait)
        self._lists.take()

    def check_streams(self) -> None:
        """May one more begin? Raises TooManyStreams."""
        if self._streams >= self._most_streams:
            raise TooManyStreams(
                f"this process serves {self._streams} streams already (RAY_HISTORY_EVENT_STREAMS): ask for the status instead"
            )

    def begin_stream(self) -> None:
        """One more, until `end_stream`. Raises TooManyStreams."""
        self.check_streams()
        self._streams += 1

    @property
    def slower(self) -> float:
        """How much more seldom each stream looks for news when many do."""
        return 1.0 + self._streams / _STREAMS_AT_FULL_PACE

    def end_stream(self) -> None:
        self._streams -= 1

    def begin_export(self) -> None:
        """One more, until `end_export`. Raises TooManyStreams."""
        if self._exports >= self._most_exports:
            raise TooManyStreams(f"this process writes {self._exports} exports already (RAY_HISTORY_EXPORTS): try again in a moment")
        self._exports += 1

    def end_export(self) -> None:
        self._exports -= 1


_STREAM = re.compile(r"/sessions/[^/]+/[^/]+/[^/]+/[^/]+/events")
_RETRY_AFTER = 5.0


class StreamLimit:
    """ASGI middleware: refuses streams beyond what a process serves, before anything is looked up for them.

    A refusal by the route costs a millisecond of the event loop, most of it for finding the route: hundreds that come at once would
    hold up everybody else for as long. `state.limits` is set when the app starts.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and _STREAM.fullmatch(scope["path"]):
            limits: CallerLimits = self._state.limits
            try:
                limits.check_streams()
            except TooManyStreams as exc:
                await problem(503, exc.code, str(exc), retry_after=_RETRY_AFTER)(scope, receive, send)
                return
        await self._app(scope, receive, send)
