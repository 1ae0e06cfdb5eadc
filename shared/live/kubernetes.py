"""The Kubernetes API, through the official client: RayClusters, a RayService's active cluster, token Secrets.

Every call has a deadline and a turn in the rate limit. "Not there" is None; "could not look" is KubernetesUnavailable.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
import urllib3
from kubernetes import client, config, watch

from shared.errors import KubernetesUnavailable, SettingsError
from shared.live.kubernetes_cache import KubernetesSaysNo
from shared.live.port import LiveCluster
from shared.live.rayclusters import read_ray_cluster
from shared.metrics import KUBERNETES_SECONDS, KUBERNETES_WATCHES, timed
from shared.rate_limit import RateLimit
from shared.settings import LiveSettings

GROUP, VERSION = "ray.io", "v1"
CLUSTERS, SERVICES = "rayclusters", "rayservices"
# The name that KubeRay's operator gives the key (its RAY_AUTH_TOKEN_SECRET_KEY).
TOKEN_KEY = "auth_token"  # noqa: S105
PAGE = 500
# A watch is renewed this often without a new listing: so long may a connection that died silently go unnoticed.
WATCH_SECONDS = 60

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class ListingExpired(Exception):
    """The watch's resource version is too old (410): list again."""


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the watch: a cluster as it is now, or the key of one that is gone."""

    version: str
    cluster: LiveCluster | None = None
    gone: str | None = None


class KubernetesApi:
    """What the history server asks of Kubernetes, and nothing else. Thread-safe; create it after any fork."""

    def __init__(self, settings: LiveSettings) -> None:
        """Raises SettingsError when the credentials cannot be read."""
        self.configuration = read_configuration(settings)
        self._timeout = settings.kubernetes_timeout
        self._rate = RateLimit(settings.kubernetes_qps, settings.kubernetes_burst)
        self._client = client.ApiClient(self.configuration)
        self._custom = client.CustomObjectsApi(self._client)
        self._core = client.CoreV1Api(self._client)

    def list_clusters(self, namespace: str) -> tuple[list[LiveCluster], str]:
        """Every RayCluster of one namespace (empty: of all), and the resource version to watch from."""
        clusters: list[LiveCluster] = []
        token: str | None = None
        while True:
            page = self._call("list rayclusters", self._list, namespace, limit=PAGE, _continue=token)
            for item in page.get("items") or []:
                cluster = _readable(item)
                if cluster:
                    clusters.append(cluster)
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or None
            if token is None:
                return clusters, str(metadata.get("resourceVersion") or "0")

    def watch_clusters(self, namespace: str, version: str, seconds: float, opened: Callable[[watch.Watch], None]) -> Generator[Change]:
        """Changes since `version`, until the server ends the watch after `seconds` or about a minute. Raises ListingExpired.

        `opened` gets the watch before it starts, so that another thread can stop it.
        """
        stream = watch.Watch()  # type: ignore[no-untyped-call]
        seconds = max(1, min(WATCH_SECONDS, math.ceil(seconds)))
        opened(stream)
        self._turn("watch rayclusters")
        try:
            for event in stream.stream(  # type: ignore[no-untyped-call]
                self._list,
                namespace,
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=seconds,
                _request_timeout=(self._timeout, seconds + self._timeout),
            ):
                body = event["raw_object"]
                at = str((body.get("metadata") or {}).get("resourceVersion") or version)
                if event["type"] == "BOOKMARK":
                    yield Change(at)
                    continue
                cluster = _readable(body)
                if cluster is None:
                    continue
                if event["type"] == "DELETED":
                    yield Change(at, gone=cluster.key)
                else:
                    yield Change(at, cluster=cluster)
            KUBERNETES_WATCHES.labels("ended").inc()
        except client.ApiException as exc:
            KUBERNETES_WATCHES.labels("expired" if exc.status == 410 else "failed").inc()
            if exc.status == 410:
                raise ListingExpired from exc
            raise _unavailable("watch rayclusters", exc) from exc
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            KUBERNETES_WATCHES.labels("failed").inc()
            raise _unavailable("watch rayclusters", exc) from exc

    def read_cluster(self, namespace: str, name: str) -> LiveCluster | None:
        """One RayCluster as it is now."""
        body = self._get(CLUSTERS, namespace, name)
        try:
            return None if body is None else read_ray_cluster(body)
        except ValueError as exc:
            raise KubernetesUnavailable(f"Kubernetes: get {CLUSTERS} {namespace}/{name}: {exc}") from exc

    def active_cluster(self, namespace: str, service: str) -> str | None:
        """The name of the RayCluster that a RayService serves from; None when it is gone or does not say."""
        body = self._get(SERVICES, namespace, service)
        status = (body or {}).get("status") or {}
        return (status.get("activeServiceStatus") or {}).get("rayClusterName") or None

    def read_token(self, namespace: str, secret: str) -> str:
        """A dashboard's token. Raises KubernetesUnavailable; its kind KubernetesSaysNo when the Secret or its key is missing."""
        where = f"Secret {namespace}/{secret}"
        found = self._call(f"get {where}", self._core.read_namespaced_secret, secret, namespace, missing=None)
        if found is None:
            raise KubernetesSaysNo(f"{where}, which holds the token of the cluster's dashboard, is missing")
        try:
            token = base64.b64decode((found.data or {}).get(TOKEN_KEY) or "", validate=True).decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise KubernetesSaysNo(f"{where}: its key {TOKEN_KEY} is no token") from exc
        if not token or not token.isprintable():
            raise KubernetesSaysNo(f"{where} has no token under the key {TOKEN_KEY}")
        return token

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()

    def _get(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        what = f"get {plural} {namespace}/{name}"
        found = self._call(what, self._custom.get_namespaced_custom_object, GROUP, VERSION, namespace, plural, name, missing=None)
        return found if isinstance(found, dict) else None

    def _list(self, namespace: str, **options: Any) -> Any:
        """One listing or watch; the form that the client's Watch expects of a list function."""
        if namespace:
            return self._custom.list_namespaced_custom_object(GROUP, VERSION, namespace, CLUSTERS, **options)
        return self._custom.list_cluster_custom_object(GROUP, VERSION, CLUSTERS, **options)

    def _turn(self, what: str) -> None:
        if not self._rate.take(self._timeout):
            raise KubernetesUnavailable(f"{what}: more calls than RAY_HISTORY_KUBERNETES_QPS and _BURST allow")

    def _call(self, what: str, function: Callable[..., _T], *args: Any, missing: Any = ..., **options: Any) -> Any:
        self._turn(what)
        try:
            with timed(KUBERNETES_SECONDS, _operation(what)):
                return function(*args, _request_timeout=self._timeout, **options)
        except client.ApiException as exc:
            if exc.status == 404 and missing is not ...:
                return missing
            raise _unavailable(what, exc) from exc
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise _unavailable(what, exc) from exc


def read_configuration(settings: LiveSettings) -> client.Configuration:
    """Credentials and address of the API server. Raises SettingsError."""
    configuration = client.Configuration()
    try:
        if settings.kubernetes == "incluster":
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(Path(settings.kubeconfig).expanduser()) if settings.kubeconfig else None,
                context=settings.kube_context or None,
                client_configuration=configuration,
                persist_config=False,
            )
    except (config.ConfigException, OSError, ValueError) as exc:
        raise SettingsError(f"RAY_HISTORY_KUBERNETES={settings.kubernetes}: {exc}") from exc
    configuration.retries = False
    # A watch is silent for minutes: notice a peer that is gone, and keep middle boxes from forgetting the connection.
    configuration.keep_alive = True
    return configuration


def _operation(what: str) -> str:
    """For metrics: without the names of objects."""
    return " ".join(what.split()[:2]).lower()


def _readable(body: dict[str, Any]) -> LiveCluster | None:
    try:
        return read_ray_cluster(body)
    except ValueError as exc:
        _log.warning("raycluster_skipped", reason=str(exc))
        return None


def _unavailable(what: str, exc: Exception) -> KubernetesUnavailable:
    if isinstance(exc, client.ApiException):
        hint = " (see the RBAC list in docs/live-clusters.md)" if exc.status in (401, 403) else ""
        reason = f"{exc.status} {exc.reason}{hint}" if exc.status else str(exc.reason)
    else:
        reason = f"{type(exc).__name__}: {exc}"
    return KubernetesUnavailable(f"Kubernetes: {what}: {reason}")
