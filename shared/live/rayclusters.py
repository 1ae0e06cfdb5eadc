"""A RayCluster object of the Kubernetes API, reduced to what the history server needs (KubeRay: ray.io/v1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from shared.live.port import DashboardAuth, LiveCluster
from shared.sessions import KINDS, Kind

# KubeRay's names of them are RayOriginatedFromCRDLabelKey and RayOriginatedFromCRNameLabelKey.
OWNER_KIND_LABEL = "ray.io/originated-from-crd"
OWNER_NAME_LABEL = "ray.io/originated-from-cr-name"
FAULT_TOLERANCE_ANNOTATION = "ray.io/ft-enabled"
DASHBOARD_PORT_NAME = "dashboard"
DASHBOARD_PORT = 8265

# A host name is made of it: nothing but one DNS label may get through, whoever can write the object's status.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LONGEST_CHECKED_NAME = 50


def read_ray_cluster(body: Mapping[str, Any]) -> LiveCluster:
    """From the API's JSON. Raises ValueError when it has no identity; anything else that is odd counts as not there."""
    metadata = body.get("metadata") or {}
    spec = body.get("spec") or {}
    status = body.get("status") or {}
    try:
        namespace, name = metadata["namespace"], metadata["name"]
        created = datetime.fromisoformat(metadata["creationTimestamp"])
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"a RayCluster without namespace, name or creationTimestamp: {exc!r}") from exc
    owner_kind, owner_name = _owner(metadata.get("labels") or {})
    auth, secret = _auth(name, spec.get("authOptions") or {})
    return LiveCluster(
        namespace=namespace,
        name=name,
        uid=str(metadata.get("uid") or ""),
        created=created,
        owner_kind=owner_kind,
        owner_name=owner_name,
        head_service=_matching(_LABEL, (status.get("head") or {}).get("serviceName")),
        dashboard_port=_dashboard_port(spec),
        suspended=_suspended(spec, status),
        auth=auth,
        token_secret=secret,
        fault_tolerant=_fault_tolerant(metadata, spec),
    )


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _owner(labels: Mapping[str, str]) -> tuple[Kind | None, str | None]:
    kind = str(labels.get(OWNER_KIND_LABEL) or "").lower()
    name = _matching(_SUBDOMAIN, labels.get(OWNER_NAME_LABEL))
    if kind in KINDS and kind != "raycluster" and name:
        return cast("Kind", kind), name
    return None, None


def _suspended(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Suspended means asked for and done: while KubeRay still stops the pods, the head may still answer."""
    if not spec.get("suspend"):
        return False
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or [] if isinstance(c, Mapping)}
    return status.get("state") == "suspended" or conditions.get("RayClusterSuspended") == "True"


def _fault_tolerant(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Then Ray's head takes its session's name from there (Ray: Node.check_persisted_session_name; KubeRay: IsGCSFaultToleranceEnabled)."""
    annotations = metadata.get("annotations") or {}
    variables = {variable.get("name") for variable in (_head_container(spec).get("env") or [])}
    marked = str(annotations.get(FAULT_TOLERANCE_ANNOTATION)).lower() == "true"
    return spec.get("gcsFaultToleranceOptions") is not None or marked or "RAY_REDIS_ADDRESS" in variables


def _auth(cluster: str, options: Mapping[str, Any]) -> tuple[DashboardAuth, str | None]:
    """`spec.authOptions`: the Secret is the named one, or else the one that KubeRay's operator made for the cluster."""
    if str(options.get("mode") or "").lower() != "token":
        return "none", None
    if options.get("enableK8sTokenAuth"):
        return "kubernetes", None
    return "token", _matching(_SUBDOMAIN, options.get("secretName")) or _checked_name(cluster)


def _checked_name(name: str) -> str:
    """KubeRay's CheckName: the last 50 characters, never a digit or a punctuation mark first."""
    name = name[-_LONGEST_CHECKED_NAME:]
    return name if name[0].isalpha() else f"r{name[1:]}"


def _dashboard_port(spec: Mapping[str, Any]) -> int:
    """The head service gets the head container's ports by their names (KubeRay: getServicePorts)."""
    for port in _head_container(spec).get("ports") or []:
        number = port.get("containerPort")
        if port.get("name") == DASHBOARD_PORT_NAME and isinstance(number, int) and 0 < number < 65536:
            return number
    return DASHBOARD_PORT


def _head_container(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first container of the head's pod is Ray's (KubeRay: RayContainerIndex)."""
    template = ((spec.get("headGroupSpec") or {}).get("template") or {}).get("spec") or {}
    containers = template.get("containers") or [{}]
    return containers[0] or {}
