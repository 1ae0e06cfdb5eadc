"""Domain errors to HTTP: every one has a status, a code of its own, and the shape of RFC 9457."""

from __future__ import annotations

import json

import pytest

from api.errors import STATUS, history_problem
from shared import errors


def _all(kind: type[errors.HistoryError] = errors.HistoryError) -> list[type[errors.HistoryError]]:
    return [found for sub in kind.__subclasses__() if sub.__module__ == errors.__name__ for found in (sub, *_all(sub))]


@pytest.mark.parametrize("kind", [kind for kind in _all() if kind is not errors.SettingsError])
def test_every_error_has_its_problem(kind: type[errors.HistoryError]) -> None:
    answer = history_problem(kind("what happened"))
    body = json.loads(bytes(answer.body))
    assert answer.status_code == body["status"] == STATUS[kind]
    assert body["detail"] == "what happened"
    assert body["code"] == kind.code
    assert body.keys() >= {"type", "title", "status", "detail", "code"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in (errors.HistoryError, *_all())]
    assert len(set(codes)) == len(codes)


def test_a_failed_load_tells_its_cause_and_when_it_may_be_tried_again() -> None:
    answer = history_problem(errors.LoadFailed("why", code="load_crashed", retry_after=12.2))
    assert answer.headers["retry-after"] == "13"
    assert json.loads(bytes(answer.body))["cause"] == "load_crashed"
