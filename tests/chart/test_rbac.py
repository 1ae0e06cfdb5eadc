"""The chart's RBAC is the table of docs/live-clusters.md, which another test compares with what an API server is really asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendered import NAMESPACE, VALUES, objects

PAGE = Path(__file__).parents[2] / "docs" / "live-clusters.md"
_VERB_OF = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Permission = tuple[str, str, str]


def _documented(who: str) -> dict[tuple[str, str], set[str]]:
    """(group, resource) -> verbs, from the rows that name `who`."""
    table = PAGE.read_text().split("## RBAC")[1].split("\n## ")[0]
    found: dict[tuple[str, str], set[str]] = {}
    for group, resources, verbs, of in re.findall(r"^\| *(.*?) *\| *(`.*?`) *\| *(`.*?`) *\| *(.*?) *\|", table, re.MULTILINE):
        if who in re.split(r",\s*", of):
            for resource in re.findall(r"`(.*?)`", resources):
                found.setdefault((group.strip("`"), resource), set()).update(re.findall(r"`(.*?)`", verbs))
    return found


def _expected(who: str, kubernetes: dict[str, Any]) -> set[Permission]:
    wanted = set()
    for (group, resource), verbs in _documented(who).items():
        if resource == "secrets" and not kubernetes.get("tokens", {}).get("enabled"):
            continue
        if resource == "services/proxy" and kubernetes.get("dashboardAccess") != "apiserver":
            continue
        wanted |= {(group, resource, verb) for verb in verbs}
        if resource == "services/proxy" and who == "api":
            wanted |= {(group, resource, _VERB_OF[m]) for m in kubernetes.get("proxyMethods", []) if m in _VERB_OF}
    return wanted


def _given(rules: list[dict[str, Any]]) -> set[Permission]:
    return {(group, resource, verb) for r in rules for group in r["apiGroups"] for resource in r["resources"] for verb in r["verbs"]}


def test_the_page_has_the_rows() -> None:
    assert ("ray.io", "rayclusters") in _documented("worker")
    assert ("", "services/proxy") in _documented("api")


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("no-kubernetes", "own-secrets")])
@pytest.mark.parametrize("who", ["api", "worker"])
def test_exactly_what_is_asked_for(name: str, who: str) -> None:
    values = VALUES[name]
    found = objects(values)
    kubernetes = values.get("kubernetes", {})
    namespaces = kubernetes.get("namespaces", [])
    kind = "Role" if namespaces else "ClusterRole"
    roles = [o for o in found if o["kind"] == kind and o["metadata"]["name"].endswith(f"-{who}")]
    assert [role["metadata"].get("namespace") for role in roles] == (namespaces or [None])
    for role in roles:
        assert _given(role["rules"]) == _expected(who, kubernetes)
        limited = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
        assert [rule.get("resourceNames", []) for rule in limited] == [kubernetes.get("tokens", {}).get("secretNames", [])] * len(limited)
        bound = [o for o in found if o["kind"] == f"{kind}Binding" and o["roleRef"]["name"] == role["metadata"]["name"]]
        same = [o for o in bound if o["metadata"].get("namespace") == role["metadata"].get("namespace")]
        (account,) = (o["metadata"]["name"] for o in found if o["kind"] == "ServiceAccount" and o["metadata"]["name"].endswith(f"-{who}"))
        assert [o["subjects"] for o in same] == [[{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]]
        (deployment,) = (o for o in found if o["kind"] == "Deployment" and o["metadata"]["name"].endswith(f"-{who}"))
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account


@pytest.mark.parametrize("name", ["no-kubernetes", "own-secrets"])
def test_nothing_when_it_is_not_wanted(name: str) -> None:
    assert [o["kind"] for o in objects(VALUES[name]) if "Role" in o["kind"]] == []
