"""Where this cluster's sessions lie in the bucket: KubeRay's layout (v1.7), from the settings and the names that Ray gives."""

from __future__ import annotations

from typing import cast

from collector.batches import Place
from shared.collector_documents import REPORT_NAME
from shared.errors import InvalidReference, SettingsError
from shared.layout import marker_key, session_prefix
from shared.sessions import Kind, Session, SessionRef
from shared.settings import CollectSettings


class Cluster:
    """One cluster: makes keys. Raises SettingsError for names that Kubernetes would not take, as they would not be listed."""

    def __init__(self, settings: CollectSettings) -> None:
        self.namespace = settings.collect_namespace
        self.name = settings.collect_cluster
        self._owner_kind = cast("Kind | None", settings.collect_owner_kind or None)
        self._owner_name = settings.collect_owner_name or None
        if bool(self._owner_kind) != bool(self._owner_name):
            raise SettingsError("RAY_HISTORY_COLLECT_OWNER_KIND and RAY_HISTORY_COLLECT_OWNER_NAME: give both or none")
        try:
            SessionRef.of(self.namespace, "raycluster", self.name)
            if self._owner_kind and self._owner_name:
                SessionRef.of(self.namespace, self._owner_kind, self._owner_name)
        except InvalidReference as exc:
            raise SettingsError(f"RAY_HISTORY_COLLECT_CLUSTER, _NAMESPACE, _OWNER_NAME: {exc} (small letters, digits, `-`, `.`)") from exc

    def session(self, name: str) -> Session:
        return Session(self.namespace, self.name, name, self._owner_kind, self._owner_name)

    def prefix(self, session: str) -> str:
        """Everything of a session lies below it; ends in `/`."""
        return session_prefix(self.session(session))

    def marker(self, session: str) -> str:
        """The empty object by which readers find the session."""
        return marker_key(self.session(session))

    def event_file(self, place: Place, rest: str) -> str:
        """`rest`: hour, number and suffix of the name, which begins with the node."""
        return f"{self.prefix(place.session)}{place.node}/{place.directory}/{place.node}-{rest}"

    def log(self, session: str, node: str, name: str) -> str:
        return f"{self.prefix(session)}{node}/logs/{name}"

    def answer(self, session: str, path: str) -> str:
        """A stored answer of the dashboard (KubeRay: EndpointPathToStorageKey)."""
        return f"{self.prefix(session)}fetched_endpoints/restful__" + path.strip("/").replace("/", "__")

    def report(self, session: str, node: str) -> str:
        return f"{self.prefix(session)}{node}/{REPORT_NAME}"
