"""What a browser may not see."""

from __future__ import annotations

import json

import pytest

from api.dashboard.routing import is_browser
from shared.ray.redaction import REDACTED, redact, redact_rows, redact_serialized_runtime_env


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        (None, None),
        ("{}", "{}"),
        ('{"pip": ["x"]}', '{"pip": ["x"]}'),
        ('{"env_vars": {"B": "secret", "A": "too"}}', '{"env_vars": {"A": "<redacted>", "B": "<redacted>"}}'),
        ('{"env_vars": null}', '{"env_vars": null}'),
        ("[1]", REDACTED),
        ("not JSON secret", REDACTED),
        ('{"env_vars": {"A": "secret"', REDACTED),
    ],
)
def test_values_of_environment_variables_are_hidden(given: str | None, shown: str | None) -> None:
    found = redact_serialized_runtime_env(given)
    if shown is None or found is None or shown in ("", REDACTED):
        assert found == shown
    else:
        assert json.loads(found) == json.loads(shown)
        assert list(json.loads(found).get("env_vars") or {}) == sorted(json.loads(found).get("env_vars") or {})


def test_environments_are_found_at_any_depth() -> None:
    tree = {
        "a": [{"runtime_env": {"env_vars": {"K": "secret"}, "pip": []}}, {"serialized_runtime_env": '{"env_vars":{"K":"secret"}}'}],
        "env_vars": {"K": 1},
    }
    found = redact(tree)
    assert "secret" not in json.dumps(found)
    assert found["a"][0]["runtime_env"] == {"env_vars": {"K": REDACTED}, "pip": []}
    assert found["env_vars"] == {"K": 1}, "only runtime environments are redacted"
    assert "secret" in json.dumps(tree), "the tree itself is not changed"


def test_rows_without_an_environment_are_not_touched() -> None:
    plain = b'{"a": 1,  "b":2}'
    assert redact_rows([plain, b'{"runtime_env":{"env_vars":{"K":"secret"}}}']) == [
        plain,
        b'{"runtime_env":{"env_vars":{"K":"<redacted>"}}}',
    ]


@pytest.mark.parametrize(
    ("headers", "browser"),
    [
        ([], False),
        ([(b"user-agent", b"curl/8")], False),
        ([(b"user-agent", b"Mozilla/5.0 (X11)")], True),
        ([(b"referer", b"http://x")], True),
        ([(b"sec-fetch-mode", b"cors")], True),
        ([(b"origin", b"null")], True),
        ([(b"accept", b"text/html")], False),
    ],
)
def test_browsers_are_told_by_their_headers(headers: list[tuple[bytes, bytes]], browser: bool) -> None:
    assert is_browser(headers) == browser
