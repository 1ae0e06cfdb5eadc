"""Replacing every API process and every worker, one after the other, while clients ask: none of them sees an error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.composed import Composed, composed
from tests.load import under_load
from tests.waiting import wait_until

RICH = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"
# Long enough for the proxy, which looks every second, to notice.
DRAIN = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    with composed(tmp_path_factory.mktemp("rolling"), DRAIN=DRAIN) as made:
        yield made


def _page(client: httpx.Client) -> httpx.Response:
    answer = client.get(f"/sessions/{RICH}/dashboard/api/v0/tasks", params={"detail": "1", "limit": "10000", "exclude_driver": "false"})
    if answer.status_code == 200:
        assert answer.json()["data"]["result"]["total"] == 329
    return answer


def _waiting_visits(refs: list[str]) -> object:
    """Enters sessions that are dropped before, so that some worker must load them, and holds on until they are loaded."""
    turn = itertools.cycle(refs)

    def visit(client: httpx.Client) -> httpx.Response:
        ref = next(turn)
        client.delete(f"/sessions/{ref}").raise_for_status()
        answer = client.get(f"/enter_cluster/{ref}", headers={"Prefer": "wait=20"})
        while answer.status_code == 202:
            answer = client.get(f"/enter_cluster/{ref}", headers={"Prefer": "wait=20"})
        return answer

    return visit


def test_no_client_sees_an_error(whole: Composed, capsys: pytest.CaptureFixture[str]) -> None:
    with httpx.Client(base_url=whole.url("proxy"), timeout=60) as client:
        wait_until(lambda: client.get(f"/enter_cluster/{RICH}", params={"wait": 20}).status_code == 200, "the load", 60)
        others = [row["ref"] for row in client.get("/sessions").json()["sessions"] if row["ref"] != RICH]
    assert len(others) == 3
    clients = [
        _page,
        _page,
        lambda client: client.get("/sessions"),
        lambda client: client.get(f"/sessions/{RICH}"),
        lambda client: client.post(f"/sessions/{RICH}/load", params={"force": "true"}),
        _waiting_visits(others),
    ]
    took = {}
    with under_load(whole.url("proxy"), clients) as account:
        for name in ("api-1", *whole.workers, "api-2"):
            before = sum(account.answers.values())
            took[name] = whole.stop(name)
            whole.start(name)
            # The others have carried on, and the new one is in use again.
            wait_until(lambda before=before: sum(account.answers.values()) > before + 100, "answers")
    assert account.problems == []
    assert account.answers.keys() <= {200, 202}
    assert sum(account.answers.values()) > 400
    for name in ("api-1", "api-2"):
        assert DRAIN <= took[name] <= whole.grace(name)
    figures = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    with capsys.disabled():
        slow = f"99 % within {account.slowest(0.01):.2f} s, slowest {max(account.seconds):.2f} s"
        print(f"\nrolling restart: {sum(account.answers.values())} answers {dict(account.answers)}, 0 errors, {slow}; ended in: {figures}")  # noqa: T201
