"""Clients that ask without pause, as browsers and scripts behind a proxy do, and keep account of every answer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass
class Account:
    """What all clients saw. `problems`: every answer that a client would call an error, and every answer that never came."""

    answers: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def slowest(self, share: float) -> float:
        """The time that only `share` of the answers took longer than, in seconds."""
        return sorted(self.seconds)[int(len(self.seconds) * (1 - share))]


Request = Callable[[httpx.Client], httpx.Response]


@contextmanager
def under_load(url: str, clients: list[Request]) -> Iterator[Account]:
    """While inside, each of `clients` asks again and again in a thread with a connection of its own."""
    account, stop = Account(), threading.Event()

    def run(request: Request) -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    answer = request(client)
                except httpx.HTTPError as exc:
                    account.problems.append(f"{type(exc).__name__}: {exc}")
                    continue
                account.seconds.append(time.monotonic() - began)
                account.answers[answer.status_code] += 1
                if answer.status_code >= 400:
                    account.problems.append(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}")

    threads = [threading.Thread(target=run, args=(request,)) for request in clients]
    for thread in threads:
        thread.start()
    try:
        yield account
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
