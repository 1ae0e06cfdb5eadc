"""How a head's dashboard is reached: its URL, credentials and an HTTP client, by service or through the API server.

Host and port come from Kubernetes and from settings only; nothing that a request holds can change them.
"""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

from shared.errors import InvalidReference, KubernetesUnavailable, SettingsError
from shared.live.port import LiveCluster, LiveDirectory
from shared.live.rayclusters import DASHBOARD_PORT_NAME
from shared.settings import LiveSettings

if TYPE_CHECKING:
    import httpx
    from kubernetes.client import Configuration

# httpcore compares every idle connection with all others at each request: more of them cost more than connecting anew.
_IDLE_CONNECTIONS = 20
# Ray reads it after `Authorization`, which the API server's proxy consumes.
RAY_AUTHORIZATION = "x-ray-authorization"


class Heads:
    """URLs, headers and clients for the dashboards of live clusters."""

    def __init__(self, directory: LiveDirectory, settings: LiveSettings, configuration: Configuration | None) -> None:
        """`configuration`: the API server's address and credentials, for `dashboard_access=apiserver`. Raises SettingsError."""
        self._directory = directory
        self._settings = settings
        self._configuration = configuration if settings.dashboard_access == "apiserver" else None
        try:
            settings.dashboard_host.format(service="service", namespace="namespace")
        except (LookupError, ValueError) as exc:
            raise SettingsError(f"RAY_HISTORY_DASHBOARD_HOST: only {{service}} and {{namespace}} may stand in it ({exc!r})") from exc

    def url(self, cluster: LiveCluster, path: str, query: str = "") -> httpx.URL:
        """The dashboard's URL of `path`, which is percent-encoded and starts with `/`.

        Raises KubernetesUnavailable when the cluster has no head to ask, InvalidReference for a path that climbs.
        """
        import httpx  # noqa: PLC0415 - as below

        service = cluster.head_service
        if not cluster.answering:
            raise KubernetesUnavailable(f"RayCluster {cluster.key} has no running head")
        refuse_climbing(path)
        if cluster.dashboard is not None:
            base = cluster.dashboard
        elif self._configuration:
            host = str(self._configuration.host).rstrip("/")
            base = f"{host}/api/v1/namespaces/{cluster.namespace}/services/{service}:{DASHBOARD_PORT_NAME}/proxy"
        else:
            host = self._settings.dashboard_host.format(service=service, namespace=cluster.namespace)
            base = f"http://{host}:{cluster.dashboard_port}"
        try:
            return httpx.URL(f"{base}{path}?{query}" if query else f"{base}{path}")
        except httpx.InvalidURL as exc:
            raise InvalidReference(f"the path cannot be passed on: {exc}") from exc

    def needs_credentials(self, cluster: LiveCluster) -> bool:
        """Does `credentials` have anything to say? It may block, so ask first."""
        return cluster.auth == "token" or self._configuration is not None

    def credentials(self, cluster: LiveCluster, *, fresh: bool = False) -> dict[str, str]:
        """Headers that identify us; may read a Secret or run a kubeconfig's plugin. Raises KubernetesUnavailable."""
        headers: dict[str, str] = {}
        token = self._directory.token(cluster, fresh=fresh)
        if token:
            headers[RAY_AUTHORIZATION] = f"Bearer {token}"
        if self._configuration:
            ours = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
            if ours:
                headers["authorization"] = ours
        return headers

    def client(self) -> httpx.AsyncClient:
        """A client of its own pool: no redirects followed, no proxy from the environment, no cookies kept between answers."""
        # Imported here: where no clusters run nothing of it is needed.
        import httpx  # noqa: PLC0415

        settings = self._settings
        return httpx.AsyncClient(
            timeout=httpx.Timeout(
                connect=settings.proxy_connect_timeout,
                read=settings.proxy_idle_timeout,
                write=settings.proxy_answer_timeout,
                pool=settings.proxy_answer_timeout / 2,
            ),
            limits=httpx.Limits(max_connections=settings.proxy_connections, max_keepalive_connections=_IDLE_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
            verify=self.tls or True,
            proxy=self.way_out,
        )

    @property
    def through_api_server(self) -> bool:
        return self._configuration is not None

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """What a connection to the API server asks of its certificate; None: nothing else than others."""
        return _ssl_context(self._configuration) if self._configuration else None

    @property
    def tls_server_name(self) -> str | None:
        """Of a kubeconfig, where the certificate has another name than the address."""
        return self._configuration.tls_server_name or None if self._configuration else None

    @property
    def way_out(self) -> str | None:
        """The URL of the HTTP proxy in front of the API server."""
        return _way_out(self._configuration) if self._configuration else None

    @property
    def extensions(self) -> dict[str, str]:
        """Request extensions for httpx: the TLS server name."""
        return {"sni_hostname": self.tls_server_name} if self.tls_server_name else {}


def refuse_climbing(path: str) -> None:
    """Raises InvalidReference for a path with dot segments, however encoded: the API server's proxy lies below a path of its own."""
    plain = unquote(unquote(path)).replace("\\", "/")
    if not path.startswith("/") or any(part in (".", "..") for part in plain.split("/")):
        raise InvalidReference("the path holds . or .. segments")


def _way_out(configuration: Configuration) -> str | None:
    """The HTTP proxy in front of the API server, as the official client chooses it."""
    from kubernetes.client.rest import should_bypass_proxies  # noqa: PLC0415 - imported already, where there is a configuration

    bypass = should_bypass_proxies(configuration.host, configuration.no_proxy or "")
    return configuration.proxy if configuration.proxy and not bypass else None


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
