"""Asks a history server everything that was asked of the live dashboard, and scores the answers."""

from __future__ import annotations

import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Self

import httpx

from shared.sessions import SessionRef
from tests.conformance.comparison import Comparison, Difference, Entity
from tests.conformance.json_tree import MISSING, dig, leaves, named_timeline, parse
from tests.conformance.recording import RESOURCES, Answer, Recording
from tests.conformance.rules import covering, rule_for

Scope = Literal["cookie", "path"]
_COOKIES = {"cluster_name", "cluster_namespace", "session_name", "owner_kind", "owner_name"}
_ENTER_S = 60.0


class Server:
    """A history server, seen through one session. `scope` says how the session is named in each request."""

    def __init__(self, base_url: str, ref: SessionRef, scope: Scope) -> None:
        self._client = httpx.Client(timeout=60)
        self._base = httpx.URL(base_url)
        where = "/".join(urllib.parse.quote(part, safe="") for part in str(ref).split("/"))
        self._prefix = ""
        self._enter(where)
        if scope == "path":
            self._prefix = f"/sessions/{where}/dashboard"
        elif lacking := _COOKIES - set(self._client.cookies):
            raise AssertionError(f"enter_cluster set no cookie {', '.join(sorted(lacking))}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        raw_path = (self._base.path.rstrip("/") + self._prefix + url).encode()
        return self._client.get(self._base.copy_with(raw_path=raw_path), headers=headers)

    def _enter(self, where: str) -> None:
        """Until it is loaded: the server holds each answer for a while."""
        deadline = time.monotonic() + _ENTER_S
        while (answer := self.get(f"/enter_cluster/{where}?wait=10")).status_code == 202:
            assert time.monotonic() < deadline, f"still loading: {answer.text}"
        assert answer.status_code == 200, answer.text


@dataclass
class TagScore:
    """How one kind of answer fared."""

    answers: int = 0
    right: int = 0
    """Answers without any difference."""
    leaves: int = 0
    equal: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[str, Difference]] = field(default_factory=dict)

    @property
    def percent(self) -> float:
        return 100 * self.equal / self.leaves if self.leaves else 100.0

    def add(self, url: str, compared: Comparison) -> None:
        self.answers += 1
        self.right += not compared.differences
        self.leaves += compared.leaves
        self.equal += compared.equal
        for difference in compared.differences:
            self.differences[difference.path] += difference.leaves
            self.examples.setdefault(difference.path, (url, difference))


@dataclass
class Score:
    """One session's: by tag, and what was excused or left out, by reason."""

    tags: dict[str, TagScore] = field(default_factory=dict)
    excused: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def percent(self) -> float:
        """Over all leaves."""
        return 100 * sum(tag.equal for tag in self.tags.values()) / max(1, sum(tag.leaves for tag in self.tags.values()))

    @property
    def right(self) -> float:
        """Of how many answers in a hundred every leaf is right."""
        return 100 * sum(tag.right for tag in self.tags.values()) / max(1, sum(tag.answers for tag in self.tags.values()))

    def below(self, floor: float) -> list[str]:
        """What is wrong with the tags below a floor: tag and fields, each with an example."""
        return [line for name, tag in sorted(self.tags.items()) if tag.percent < floor for line in explained(name, tag)]


def explained(name: str, tag: TagScore) -> list[str]:
    """The differing fields of a tag, the worst first."""
    lines = [f"{name}: {tag.percent:.2f} % of {tag.leaves} leaves"]
    for path, count in tag.differences.most_common(10):
        url, example = tag.examples[path]
        lines.append(f"  {path} ({count}): live {_short(example.live)}, served {_short(example.served)}; {example.row} {url}")
    return lines


def replay(server: Server, recording: Recording) -> Score:
    recording.find_late(lambda url: server.get(url).text)
    score = Score()
    for recorded in recording.answers:
        compared = compare(server, recording, recorded)
        if isinstance(compared, str):
            score.skipped[recorded.tag, compared] += 1
            continue
        score.tags.setdefault(recorded.tag, TagScore()).add(recorded.url, compared)
        for why, count in compared.excused.items():
            score.excused[recorded.tag, why] += count
    return score


def compare(server: Server, recording: Recording, recorded: Answer) -> Comparison | str:
    """One answer; the reason if it is not compared. Of a wrong request only the class of the status counts."""
    rule = rule_for(recorded.tag, recorded.url, recorded.body, recording.ray_version)
    if rule.mode == "skip":
        return rule.why
    live = parse(recorded.body) if rule.mode == "json" else MISSING  # MISSING: a text answer
    found, shown = dig(live, "data.result.num_filtered"), dig(live, "data.result.result")
    compared = Comparison(
        recording,
        rule,
        next((name for name in RESOURCES if f"/v0/{name}" in recorded.url), ""),
        grows=recording.grows(recorded.url),
        truncated=isinstance(found, int) and isinstance(shown, list) and len(shown) < found,
    )
    answer = server.get(recorded.url, recorded.headers)
    if recorded.status >= 400 or rule.mode == "class":
        same = min(answer.status_code // 100, 4) == min(recorded.status // 100, 4)
        compared.check(same, "(status)", recorded.status, answer.status_code)
        return compared
    text, good = answer.content.decode("utf-8", "replace"), answer.status_code == recorded.status
    if live is MISSING and good:
        compared.text(recorded.body, text, window=not any(whole in recorded.url for whole in ("lines=50000", "lines=-1")))
        return compared
    served = parse(text) if good else MISSING
    if served is MISSING:
        lost = len(recorded.body.splitlines()) if live is MISSING else sum(not covering(rule.excuse, path) for path, _ in leaves(live))
        compared.check(False, "(not JSON)" if good else f"(status {answer.status_code})", recorded.status, text, count=max(1, lost))
        return compared
    if recorded.tag == "timeline":
        live, served = named_timeline(live), named_timeline(served)
    entity = None if rule.single is None else Entity(recording, dig(live, rule.single), dig(served, rule.single))
    compared.walk(live, served, "", entity)
    return compared


def _short(value: object) -> str:
    return repr(value)[:120]
