"""KubeRay's environment names: what its history server was configured with configures ours, where ours is not.

Mirrors `historyserver/pkg/storage/*/config.go`. Its bucket names, defaults and precedence (`AWS_S3ID` before `AWS_ACCESS_KEY_ID`) hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import SettingsError

Environment = Mapping[str, str]

OURS = "RAY_HISTORY_"
DEFAULT_NAME = "KubeRay's default"
_DEFAULT_BUCKET = "ray-historyserver"
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_OSS_HOST = re.compile(r"(?:s3\.)?oss-(?P<region>[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com")


def kuberay_storage(env: Environment) -> dict[str, Any]:
    """Fields of StorageSettings that KubeRay's names give and ours (`RAY_HISTORY_*`) leave open.

    With a storage URL of ours, KubeRay's names only say how to reach it, and only when they name the same kind of store.
    Raises SettingsError, naming the variable, for a backend that cannot be read.
    """
    ours = env.get(f"{OURS}STORAGE", "")
    backend = _backend(env)
    if backend is None:
        return {}
    if backend not in _BACKENDS:
        if ours:
            return {}
        raise SettingsError(f"STORAGE_BACKEND: {backend!r} is not one of {', '.join(_BACKENDS)}; or set {OURS}STORAGE")
    scheme, read = _BACKENDS[backend]
    if ours and not ours.startswith(f"{scheme}://"):
        return {}
    bucket, access = read(env)
    root = (env.get("STORAGE_ROOT_DIR") or env.get("RAY_ROOT_DIR") or "").strip("/")
    found = {"storage": f"{scheme}://{bucket}/{root}".rstrip("/"), **access}
    return {name: value for name, value in found.items() if value != "" and not env.get(OURS + name.upper())}


def kuberay_collector(env: Environment) -> dict[str, Any]:
    """Fields of CollectSettings that KubeRay's names give and ours leave open.

    Mirrors `historyserver/cmd/collector/main.go` and what the operator injects (`BuildCollectorContainer`). Go writes durations as `1m30s`.
    """
    found: dict[str, Any] = {
        "collect_port": env.get("EVENTS_PORT", ""),
        "collect_cluster": env.get("RAY_CLUSTER_NAME", "").strip(),
        "collect_namespace": env.get("RAY_CLUSTER_NAMESPACE", "").strip(),
        "collect_owner_kind": env.get("OWNER_KIND", "").strip().lower(),
        "collect_owner_name": env.get("OWNER_NAME", "").strip(),
        "collect_role": env.get("RAY_ROLE", "").strip().lower(),
        "collect_dir": env.get("RAY_COLLECTOR_EVENT_DATA_DIR", ""),
        "collect_ray_dir": env.get("RAY_TMP_ROOT", ""),
        "collect_dashboard": env.get("RAY_DASHBOARD_ADDRESS", ""),
        "collect_endpoints": env.get("RAY_COLLECTOR_ADDITIONAL_ENDPOINTS", ""),
        "collect_poll": _go_seconds(env.get("RAY_COLLECTOR_POLL_INTERVAL", "")),
        "collect_rotation": _go_seconds(env.get("RAY_COLLECTOR_EVENT_ROTATION_INTERVAL", "")),
        "collect_buffer": _mebibytes(env.get("RAY_COLLECTOR_EVENT_MAX_DISK_MB", "")),
    }
    return {name: value for name, value in found.items() if value not in ("", None) and not env.get(OURS + name.upper())}


def _go_seconds(text: str) -> float | None:
    """A positive duration; None for anything else, which KubeRay's collector ignores, too."""
    parts = _GO_DURATION.findall(text)
    seconds = sum(float(number) * _GO_UNITS[unit] for number, unit in parts)
    return seconds if seconds > 0 and "".join(number + unit for number, unit in parts) == text.strip() else None


def _mebibytes(text: str) -> int | None:
    return int(text) << 20 if text.strip().isdecimal() and int(text) > 0 else None


def kuberay_sources(env: Environment) -> dict[str, list[str]]:
    """For each field that KubeRay's names give, the variables that say so: without them it would be another. Raises SettingsError."""
    given = kuberay_storage(env) | kuberay_collector(env)
    sources: dict[str, list[str]] = {}
    for name in sorted(_READ.intersection(env)):
        others = {other: value for other, value in env.items() if other != name}
        try:
            without = kuberay_storage(others) | kuberay_collector(others)
        except SettingsError:
            without = kuberay_collector(others)
        for field, value in given.items():
            if without.get(field) != value:
                sources.setdefault(field, []).append(name)
    return {field: sources.get(field, [DEFAULT_NAME]) for field in given}


def _backend(env: Environment) -> str | None:
    """What STORAGE_BACKEND says; where KubeRay has it from a flag, the one bucket that is named tells."""
    if named := env.get("STORAGE_BACKEND", "").strip().lower():
        return named
    told = [backend for backend, variable in _TELLING.items() if env.get(variable)]
    return told[0] if len(told) == 1 else None


def _s3(env: Environment) -> tuple[str, dict[str, str | bool]]:
    access: dict[str, str | bool] = {
        "storage_endpoint": _with_scheme(env.get("S3_ENDPOINT", "").strip(), clear=_is_true(env.get("S3DISABLE_SSL", ""))),
        "storage_region": env.get("S3_REGION", ""),
        "storage_key_id": env.get("AWS_S3ID") or env.get("AWSS3ID", ""),
        "storage_secret": env.get("AWS_S3SECRET") or env.get("AWSS3SECRET", ""),
        "storage_session_token": env.get("AWS_S3TOKEN") or env.get("AWSS3TOKEN", ""),
    }
    if style := env.get("S3FORCE_PATH_STYLE"):
        access["storage_path_style"] = _is_true(style)
    return env.get("S3_BUCKET") or _DEFAULT_BUCKET, access


def _gcs(env: Environment) -> tuple[str, dict[str, str | bool]]:
    return env.get("GCS_BUCKET") or _DEFAULT_BUCKET, {}


def _azure(env: Environment) -> tuple[str, dict[str, str | bool]]:
    identity = env.get("AZURE_STORAGE_AUTH_MODE", "").strip().lower() in ("workload_identity", "default")
    return env.get("AZURE_STORAGE_CONTAINER") or _DEFAULT_BUCKET, {
        "storage_connection_string": "" if identity else env.get("AZURE_STORAGE_CONNECTION_STRING", ""),
        "storage_endpoint": env.get("AZURE_STORAGE_ACCOUNT_URL", ""),
    }


def _aliyun(env: Environment) -> tuple[str, dict[str, str | bool]]:
    """Through OSS's S3 endpoint, which serves buckets by host name and takes access keys, not RRSA."""
    bucket, endpoint = _needed(env, "OSS_BUCKET"), _needed(env, "OSS_ENDPOINT")
    host = endpoint.partition("://")[2] or endpoint
    known = _OSS_HOST.fullmatch(host.rstrip("/"))
    if known and not host.startswith("s3."):
        endpoint = endpoint.replace(host, f"s3.{host}")
    return bucket, {
        "storage_endpoint": _with_scheme(endpoint, clear=False),
        "storage_region": env.get("OSS_REGION") or (known["region"] if known else ""),
        "storage_path_style": False,
        "storage_key_id": env.get("OSS_ACCESS_KEY_ID") or env.get("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
        "storage_secret": env.get("OSS_ACCESS_KEY_SECRET") or env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
        "storage_session_token": env.get("OSS_SESSION_TOKEN") or env.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
    }


def _oracle(env: Environment) -> tuple[str, dict[str, str | bool]]:
    """Through OCI's S3 endpoint, which takes customer secret keys (as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), not principals."""
    namespace, region = _needed(env, "OCI_NAMESPACE"), _needed(env, "OCI_REGION")
    return env.get("OCI_BUCKET") or _DEFAULT_BUCKET, {
        "storage_endpoint": f"https://{namespace}.compat.objectstorage.{region}.oraclecloud.com",
        "storage_region": region,
        "storage_path_style": True,
    }


_BACKENDS: dict[str, tuple[str, Callable[[Environment], tuple[str, dict[str, str | bool]]]]] = {
    "s3": ("s3", _s3),
    "gcs": ("gs", _gcs),
    "azureblob": ("az", _azure),
    "aliyunoss": ("s3", _aliyun),
    "oci": ("s3", _oracle),
}
# Every variable that is looked at.
_READ = frozenset(
    """
    STORAGE_BACKEND STORAGE_ROOT_DIR RAY_ROOT_DIR
    S3_BUCKET S3_ENDPOINT S3_REGION S3FORCE_PATH_STYLE S3DISABLE_SSL AWS_S3ID AWSS3ID AWS_S3SECRET AWSS3SECRET AWS_S3TOKEN AWSS3TOKEN
    GCS_BUCKET
    AZURE_STORAGE_CONTAINER AZURE_STORAGE_AUTH_MODE AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_ACCOUNT_URL
    OSS_BUCKET OSS_ENDPOINT OSS_REGION OSS_ACCESS_KEY_ID OSS_ACCESS_KEY_SECRET OSS_SESSION_TOKEN
    ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN
    OCI_BUCKET OCI_NAMESPACE OCI_REGION
    EVENTS_PORT RAY_CLUSTER_NAME RAY_CLUSTER_NAMESPACE OWNER_KIND OWNER_NAME RAY_ROLE RAY_TMP_ROOT RAY_DASHBOARD_ADDRESS
    RAY_COLLECTOR_EVENT_DATA_DIR RAY_COLLECTOR_ADDITIONAL_ENDPOINTS RAY_COLLECTOR_POLL_INTERVAL RAY_COLLECTOR_EVENT_ROTATION_INTERVAL
    RAY_COLLECTOR_EVENT_MAX_DISK_MB
    """.split()  # noqa: SIM905 - a list of quoted names would be harder to read
)
_TELLING = {
    "s3": "S3_BUCKET",
    "gcs": "GCS_BUCKET",
    "azureblob": "AZURE_STORAGE_CONTAINER",
    "aliyunoss": "OSS_BUCKET",
    "oci": "OCI_BUCKET",
}


def _needed(env: Environment, name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: STORAGE_BACKEND asks for it (or set {OURS}STORAGE)")
    return value


def _with_scheme(endpoint: str, *, clear: bool) -> str:
    """KubeRay gives `host:port` and says apart whether TLS is off; it makes `https://` plain then, too."""
    scheme, separator, rest = endpoint.partition("://")
    if not endpoint or (separator and not (clear and scheme == "https")):
        return endpoint
    return f"{'http' if clear else 'https'}://{rest or endpoint}"


def _is_true(value: str) -> bool:
    return value.strip().lower() == "true"
