"""Kubernetes objects as KubeRay's operator leaves them."""

from __future__ import annotations

import base64
from typing import Any

CREATED = "2026-11-23T19:00:00Z"


def ray_cluster(
    name: str,
    namespace: str = "default",
    *,
    port: int = 8265,
    created: str = CREATED,
    owner: tuple[str, str] | None = None,
    service: str | None = "",
    suspended: bool = False,
    auth: dict[str, Any] | None = None,
    uid: str = "",
    fault_tolerant: bool = False,
) -> dict[str, Any]:
    """A RayCluster; `owner` is (`RayJob` or `RayService`, name); `service` None: the operator has not made one yet."""
    labels = {"ray.io/originated-from-crd": owner[0], "ray.io/originated-from-cr-name": owner[1]} if owner else {}
    head = {"serviceName": service or f"{name}-head-svc", "podIP": "10.244.0.5", "serviceIP": "10.96.0.7"}
    ports = [{"containerPort": 6379, "name": "gcs"}, {"containerPort": port, "name": "dashboard"}]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "creationTimestamp": created, "labels": labels},
        "spec": {
            "suspend": suspended,
            "headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray-head", "ports": ports}]}}},
            **({"authOptions": auth} if auth else {}),
            **({"gcsFaultToleranceOptions": {"redisAddress": "redis:6379"}} if fault_tolerant else {}),
        },
        "status": {"state": "suspended" if suspended else "ready", **({"head": head} if service is not None else {})},
    }


def ray_service(name: str, namespace: str = "default", *, active: str, pending: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": CREATED},
        "status": {
            "activeServiceStatus": {"rayClusterName": active},
            "pendingServiceStatus": {"rayClusterName": pending} if pending else {},
        },
    }


def token_secret(name: str, token: str, namespace: str = "default", *, key: str = "auth_token") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": CREATED},
        "data": {key: base64.b64encode(token.encode()).decode()},
    }
