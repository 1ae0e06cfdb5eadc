"""The chart rendered for values, without a cluster, and what its objects say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

CHART = Path(__file__).parents[2] / "charts" / "ray-history-server"
RELEASE, NAMESPACE = "history", "operations"

BASE: dict[str, Any] = {"storage": {"url": "s3://bucket/root"}}
TOKENS = {"enabled": True, "secretNames": ["raycluster-a", "raycluster-b"]}
HOST = [{"host": "history.example.com"}]
# Sets that together switch every switch both ways.
VALUES: dict[str, dict[str, Any]] = {
    "defaults": BASE,
    "full": {
        "image": {"repository": "registry.example.com/ray-history-server", "tag": "1.2.3", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "storage": {
            "url": "s3://bucket",
            "endpoint": "https://objects.example.com",
            "region": "eu-1",
            "pathStyle": False,
            "existingSecret": "bucket-keys",
        },
        "redis": {"url": "rediss://user:secret@redis.example.com:6380/1", "caSecret": "redis-ca"},
        "broker": {"url": "amqp://user:secret@rabbit.example.com:5672/history"},
        "api": {
            "processes": 2,
            "autoscaling": {"enabled": True, "maxReplicas": 4},
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": HOST,
                "tls": [{"secretName": "tls", "hosts": ["history.example.com"]}],
            },
            "extraEnv": [{"name": "AWS_CA_BUNDLE", "value": "/ca.pem"}],
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}}}
            ],
        },
        "worker": {"autoscaling": {"enabled": True}, "graceSeconds": 300, "nodeSelector": {"pool": "large"}},
        "flower": {"password": "a:b,c", "urlPrefix": "/flower/", "readOnly": False, "ingress": {"enabled": True, "hosts": HOST}},
        "kubernetes": {
            "namespaces": ["team-a", "team-b"],
            "tokens": TOKENS,
            "dashboardAccess": "apiserver",
            "proxyMethods": ["GET", "HEAD", "POST", "DELETE"],
        },
        "serviceAccounts": {"api": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/history"}}},
        "podLabels": {"azure.workload.identity/use": "true"},
        "metrics": {"annotations": False, "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "settings": {"RAY_HISTORY_SNAPSHOT_BUDGET": 8589934592, "RAY_HISTORY_LEASE": 30.5, "RAY_HISTORY_LOG_LEVEL": "debug"},
    },
    "no-kubernetes": BASE | {"kubernetes": {"enabled": False}, "flower": {"enabled": False}, "valkey": {"persistence": {"enabled": False}}},
    "own-secrets": {
        "storage": {"url": "file:///storage", "existingClaim": "sessions"},
        "redis": {"existingSecret": "redis", "existingSecretKey": "address"},
        "flower": {"existingSecret": "flower"},
        "rbac": {"create": False},
        "serviceAccounts": {"api": {"create": False, "name": "existing"}, "worker": {"create": False}},
        "extraVolumes": [{"name": "key", "secret": {"secretName": "gcp"}}],
        "extraVolumeMounts": [{"name": "key", "mountPath": "/key", "readOnly": True}],
        "api": {"podDisruptionBudget": {"enabled": False}},
    },
    "token-login": BASE
    | {
        "auth": {"mode": "token", "rightsSecret": "rights"},
        "hostNames": ["history.example.com"],
        "api": {"ingress": {"enabled": True, "hosts": [{"host": "inside.example.com"}]}},
        "networkPolicy": {"enabled": True},
    },
    "proxy-login": BASE | {"auth": {"mode": "proxy", "proxies": ["10.0.0.0/8", "10.9.1.1"]}},
    "oidc-login": BASE
    | {"auth": {"mode": "oidc", "rightsSecret": "rights", "oidc": {"issuer": "https://login.example.com", "clientId": "history"}}},
    "kubernetes-login": BASE | {"auth": {"mode": "kubernetes"}},
    "own-valkey-password": BASE | {"valkey": {"existingSecret": "valkey"}, "kubernetes": {"tokens": {"enabled": True}}},
}


def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that would be applied."""
    with Chart.load(CHART) as chart:
        files = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    found = [body for name, text in sorted(files.items()) if name.endswith(".yaml") for body in yaml.safe_load_all(text)]
    return [body for body in found if body]


def of_kind(found: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Objects by their name without the release's part."""
    return {o["metadata"]["name"].removeprefix(f"{RELEASE}-ray-history-server-"): o for o in found if o["kind"] in kinds}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def environment(workload: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, str]:
    """What a workload's container would see, Secrets of the chart's own and `$(NAME)` resolved; others' Secrets are `secret:NAME/KEY`."""
    (container,) = pod(workload)["containers"]
    maps = {o["metadata"]["name"]: o for o in found if o["kind"] in ("ConfigMap", "Secret")}
    result: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if reference := source.get("configMapRef"):
            result |= maps[reference["name"]]["data"]
    for entry in container.get("env", []):
        if "value" in entry:
            value = entry["value"]
            assert isinstance(value, str), entry
            for name, known in result.items():
                value = value.replace(f"$({name})", known)
        else:
            key = entry["valueFrom"]["secretKeyRef"]
            secret = maps.get(key["name"])
            value = secret["stringData"][key["key"]] if secret else f"secret:{key['name']}/{key['key']}"
        result[entry["name"]] = value
    return result
