"""Kubernetes' word on callers: TokenReview (who is it?) and SubjectAccessReview (may they?)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from shared.errors import KubernetesUnavailable
from shared.metrics import KUBERNETES_SECONDS, timed
from shared.rate_limit import RateLimit
from shared.settings import LiveSettings

if TYPE_CHECKING:
    from kubernetes import client

_RESOURCE = {"group": "ray.io", "resource": "rayclusters"}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A user as TokenReview describes them, for the reviews of what they may."""

    name: str
    uid: str | None = None
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)


class Reviews:
    """Every call blocks, has a deadline and a turn in the rate limit, and raises KubernetesUnavailable. Thread-safe."""

    def __init__(self, api: client.ApiClient, settings: LiveSettings) -> None:
        from kubernetes import client  # noqa: PLC0415 - a second's import that only this mode pays for

        self._client = client
        self._api = api
        self._authentication = client.AuthenticationV1Api(api)
        self._authorization = client.AuthorizationV1Api(api)
        self._timeout = settings.kubernetes_timeout
        self._rate = RateLimit(settings.kubernetes_qps, settings.kubernetes_burst)

    def who(self, token: str) -> Reviewed | None:
        """None: the cluster knows no such token, or not any more."""
        body = self._client.V1TokenReview(spec=self._client.V1TokenReviewSpec(token=token))
        status = self._call("create tokenreviews", self._authentication.create_token_review, body).status
        user = status.user if status and status.authenticated else None
        return Reviewed(user.username, user.uid, tuple(user.groups or ()), user.extra or {}) if user and user.username else None

    def may(self, user: Reviewed, verb: str, namespace: str) -> bool:
        """May they do that to the RayClusters of a namespace, "" for all of them?"""
        attributes = self._client.V1ResourceAttributes(**_RESOURCE, verb=verb, namespace=namespace or None)
        spec = self._client.V1SubjectAccessReviewSpec(
            user=user.name, uid=user.uid, groups=list(user.groups), extra=user.extra, resource_attributes=attributes
        )
        body = self._client.V1SubjectAccessReview(spec=spec)
        status = self._call("create subjectaccessreviews", self._authorization.create_subject_access_review, body).status
        return bool(status and status.allowed)

    def close(self) -> None:
        self._api.rest_client.pool_manager.clear()

    def _call(self, what: str, function: Callable[..., Any], body: Any) -> Any:
        if not self._rate.take(self._timeout):
            raise KubernetesUnavailable(f"{what}: more calls than RAY_HISTORY_KUBERNETES_QPS and _BURST allow")
        try:
            with timed(KUBERNETES_SECONDS, what):
                return function(body, _request_timeout=self._timeout)
        except self._client.ApiException as exc:
            hint = " (see the RBAC list in docs/authentication.md)" if exc.status in (401, 403) else ""
            raise KubernetesUnavailable(f"Kubernetes: {what}: {exc.status or ''} {exc.reason}{hint}") from exc
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise KubernetesUnavailable(f"Kubernetes: {what}: {type(exc).__name__}") from exc


def open_reviews(settings: LiveSettings) -> Reviews:
    """Raises SettingsError when the credentials cannot be read."""
    from kubernetes import client  # noqa: PLC0415 - as above

    from shared.live.kubernetes import read_configuration  # noqa: PLC0415 - as above

    return Reviews(client.ApiClient(read_configuration(settings)), settings)
