"""Visitors of a session, who ask as browsers and scripts do, and judge every single answer: right, truthfully none, or wrong."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.soak.stack import Stack
from tests.soak.truth import PATHS, TASKS, Truth

_STATES = {"absent", "queued", "loading", "loaded", "failed"}
_PAUSE = (0.05, 0.4)
_PATIENCE = 12.0
_START = 90.0


@dataclass
class Judge:
    """What visitors of one session were told. `partial`: event files are missing on purpose, so less may be said, as partial."""

    ref: str
    truth: Truth
    partial: bool = False
    answers: int = 0
    right: int = 0
    # Whether a load was said to have failed, to be tried again.
    failed: bool = False
    wrong: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def entered(self, answer: httpx.Response) -> bool:
        """Whether the session is loaded."""
        self.answers += 1
        if answer.status_code == 202:
            status = self._json(answer).get("status", {})
            if "retry-after" not in answer.headers or "location" not in answer.headers:
                self._note(f"202 without Retry-After or Location: {dict(answer.headers)}")
            self._check_status(status)
            return False
        if answer.status_code == 200:
            return True
        return self._no_answer("enter_cluster", answer)

    def status(self, answer: httpx.Response) -> dict[str, Any]:
        self.answers += 1
        if answer.status_code != 200:
            self._no_answer("status", answer)
            return {}
        record = self._json(answer)
        self._check_status(record)
        return record

    def read(self, path: str, answer: httpx.Response) -> bool:
        """Whether the answer is there, and right."""
        self.answers += 1
        if answer.status_code != 200:
            return self._no_answer(path, answer)
        problem = self.truth.wrong(path, answer.content)
        if problem and self.partial:
            problem = self._more_than_there_is(path, answer)
        if problem:
            self._note(problem)
        else:
            self.right += 1
        return not problem

    def _no_answer(self, what: str, answer: httpx.Response) -> bool:
        """503 that says when to ask again is truthful, and so is 507 for a snapshot that the budget has no room for."""
        if answer.status_code not in (503, 507):
            self._note(f"{what}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code == 503 and "retry-after" not in answer.headers:
            self._note(f"{what}: 503 without Retry-After: {answer.text[:200]}")
        elif '"internal_error"' in answer.text:
            self._note(f"{what}: {answer.text[:200]}")
        self.failed |= '"load_failed"' in answer.text
        return False

    def _check_status(self, record: dict[str, Any]) -> None:
        state, progress = record.get("state"), record.get("progress") or {}
        if state not in _STATES:
            self._note(f"state {state!r}")
        elif state == "failed":
            self.failed = True
            if not (record.get("error") or {}).get("retryable"):
                self._note(f"failed for good: {record.get('error')}")
        elif state == "loaded" and not self.partial:
            whole = (self.truth.files, self.truth.files, 0)
            read = tuple(progress.get(name) for name in ("files_total", "files_read", "files_failed"))
            if not record.get("complete"):
                self._note(f"loaded, but partial: {record.get('losses')}")
            elif read != whole or record.get("losses"):
                self._note(f"complete with files (total, read, failed) {read} instead of {whole}, losses {record.get('losses')}")

    def _more_than_there_is(self, path: str, answer: httpx.Response) -> str:
        result = answer.json().get("data", {}).get("result") if path == TASKS else None
        if isinstance(result, dict) and result.get("total", 0) > self.truth.attempts:
            return f"{path}: more rows than there are with files missing: {result.get('total')}"
        return ""

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            self._note(f"no JSON: {answer.text[:200]}")
            return {}
        return found if isinstance(found, dict) else {}

    def _note(self, problem: str) -> None:
        if len(self.wrong) < 20:
            self.wrong.append(f"+{time.monotonic() - self._began:.2f} s {problem}")


class Visitor:
    """One client of every API process that runs, in turn, as behind a load balancer. One that is killed meanwhile is no answer."""

    def __init__(self, stack: Stack, judge: Judge) -> None:
        self._stack = stack
        self._judge = judge
        self._client = httpx.Client(timeout=_PATIENCE, trust_env=False)
        self._turn = 0

    def enter(self) -> bool:
        answer = self._get(f"/enter_cluster/{self._judge.ref}")
        return answer is not None and self._judge.entered(answer)

    def status(self) -> dict[str, Any]:
        answer = self._get(f"/sessions/{self._judge.ref}")
        return {} if answer is None else self._judge.status(answer)

    def read(self, path: str) -> bool:
        answer = self._get(f"/sessions/{self._judge.ref}/dashboard/{path}")
        return answer is not None and self._judge.read(path, answer)

    def evict(self, ref: str = "") -> bool:
        answer = self._ask("DELETE", f"/sessions/{ref or self._judge.ref}")
        return answer is not None and answer.status_code == 204

    def recover(self, bar: float, longer: float, after_failure: float) -> float | None:
        """Seconds from now until the session is loaded, complete, and read rightly; None: not within the bar and some time after it.

        `after_failure`: so much more where a load was said to have failed.
        """
        first = began = time.monotonic()
        while time.monotonic() - began < bar + longer + (after_failure if self._judge.failed else 0):
            if not self._stack.works() and time.monotonic() - first < _START:
                # The clock stands still while every worker is only just being started.
                began = time.monotonic()
            if self.enter() and self.read(TASKS) and self.status().get("complete"):
                return time.monotonic() - began
            time.sleep(0.05)
        return None

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str) -> httpx.Response | None:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str) -> httpx.Response | None:
        self._turn += 1
        alive = [process.api for process in self._stack.apis if process.api and process.child.runs()]
        if not alive:
            return None
        try:
            return self._client.request(method, alive[self._turn % len(alive)].url + path)
        except httpx.TransportError:
            return None


@contextmanager
def visiting(stack: Stack, judge: Judge, starts: threading.Event, seed: str) -> Iterator[None]:
    """While inside, one visitor enters and follows the status, and another one reads; both from when `starts` is set."""
    ended = threading.Event()

    def run(reads: bool) -> None:
        chance, visitor = random.Random(f"{seed}/{reads}"), Visitor(stack, judge)
        starts.wait(60)
        while not ended.wait(chance.uniform(*_PAUSE)):
            if reads:
                visitor.read(chance.choice(PATHS))
            elif visitor.enter():
                visitor.status()
        visitor.close()

    threads = [threading.Thread(target=run, args=(reads,), daemon=True) for reads in (False, True)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(2 * _PATIENCE)
