"""The chart's logins, names and network policies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chart.rendered import BASE, NAMESPACE, VALUES, environment, objects, of_kind, pod

PAGE = Path(__file__).parents[2] / "docs" / "authentication.md"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("defaults", "none"), ("token-login", "token"), ("proxy-login", "proxy"), ("kubernetes-login", "kubernetes"), ("oidc-login", "oidc")],
)
def test_the_mode_is_said(name: str, mode: str) -> None:
    found = objects(VALUES[name])
    assert environment(of_kind(found, "Deployment")["api"], found)["RAY_HISTORY_AUTH"] == mode


def test_rights_are_a_file_of_the_api_only() -> None:
    found = objects(VALUES["token-login"])
    deployments = of_kind(found, "Deployment")
    (container,) = pod(deployments["api"])["containers"]
    file = environment(deployments["api"], found)["RAY_HISTORY_AUTH_FILE"]
    (mount,) = (mount for mount in container["volumeMounts"] if file.startswith(mount["mountPath"] + "/"))
    (volume,) = (volume for volume in pod(deployments["api"])["volumes"] if volume["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "rights"
    assert "rights" not in str(pod(deployments["worker"]))


def test_the_provider_is_said_and_the_clients_secret_is_a_file() -> None:
    found = objects(VALUES["oidc-login"])
    deployments = of_kind(found, "Deployment")
    seen = environment(deployments["api"], found)
    assert (seen["RAY_HISTORY_OIDC_ISSUER"], seen["RAY_HISTORY_OIDC_CLIENT_ID"]) == ("https://login.example.com", "history")
    (mount,) = (one for one in pod(deployments["api"])["containers"][0]["volumeMounts"] if one["name"] == "rights")
    assert seen["RAY_HISTORY_OIDC_CLIENT_SECRET_FILE"] == f"{mount['mountPath']}/client-secret"
    public = {"auth": {**VALUES["oidc-login"]["auth"], "oidc": {"issuer": "https://a.example", "clientId": "b", "publicClient": True}}}
    found = objects(BASE | public)
    assert "RAY_HISTORY_OIDC_CLIENT_SECRET_FILE" not in environment(of_kind(found, "Deployment")["api"], found)


def test_names_are_those_of_service_and_ingress_too() -> None:
    found = objects(VALUES["token-login"])
    names = environment(of_kind(found, "Deployment")["api"], found)["RAY_HISTORY_HOST_NAMES"].split(",")
    service = "history-ray-history-server-api"
    assert names == ["history.example.com", service, f"{service}.{NAMESPACE}", f"{service}.{NAMESPACE}.svc", "inside.example.com"]
    defaults = objects(BASE)
    assert "RAY_HISTORY_HOST_NAMES" not in environment(of_kind(defaults, "Deployment")["api"], defaults)


def test_reviews_are_what_the_page_lists() -> None:
    table = PAGE.read_text().split("## Kubernetes")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(.*?)` \| `(.*?)` \| `(.*?)` \|$", table, re.MULTILINE))
    roles = [o for o in objects(VALUES["kubernetes-login"]) if o["metadata"]["name"].endswith("-reviews")]
    given = {
        (group, resource, verb)
        for role in roles
        if role["kind"] == "ClusterRole"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == listed
    assert [role["kind"] for role in roles] == ["ClusterRole", "ClusterRoleBinding"]
    assert not [o for o in objects(BASE) if o["metadata"]["name"].endswith("-reviews")]


def test_only_the_releases_own_pods_reach_valkey() -> None:
    policies = of_kind(objects(VALUES["token-login"]), "NetworkPolicy")
    assert policies.keys() == {"valkey", "worker", "api"}
    (rule,) = policies["valkey"]["spec"]["ingress"]
    allowed = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"]}
    assert allowed == {"api", "worker", "flower"}
    assert not of_kind(objects(BASE), "NetworkPolicy")
