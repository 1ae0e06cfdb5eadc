"""One Kubernetes with one head, and settings that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.live.factory import open_live
from shared.live.heads import Heads
from shared.live.port import LiveDirectory
from shared.settings import LiveSettings
from tests.live_kubernetes.api_server import ApiServer
from tests.live_kubernetes.head import Head
from tests.live_kubernetes.objects import ray_cluster
from tests.live_kubernetes.serving import unused_port

RUNNING = "session_2026-11-23_19-05-06_598956_1"
FORMER = "session_2026-11-23_19-00-40_785172_1"


@dataclass
class World:
    """Both servers listen. The cluster default/raycap is not there until `add_cluster`."""

    api: ApiServer
    head: Head
    directory: Path

    def settings(self, **changed: Any) -> LiveSettings:
        """Short deadlines, so that what cannot be known ends soon."""
        values: dict[str, Any] = {
            "kubernetes": "kubeconfig",
            "kubeconfig": self.api.kubeconfig(self.directory),
            "dashboard_host": "127.0.0.1",
            "kubernetes_timeout": 1.0,
            "kubernetes_qps": 1000.0,
            "kubernetes_burst": 1000,
            "live_check_timeout": 0.6,
            "live_check_age": 2.0,
        }
        return LiveSettings(**{**values, **changed})

    def add_cluster(self, name: str = "raycap", **options: Any) -> dict[str, Any]:
        """A RayCluster whose head is the stand-in, behind a service that the API server's proxy knows."""
        body = ray_cluster(name, **{"port": self.head.port, **options})
        self.api.services[f"{body['metadata']['namespace']}/{name}-head-svc"] = self.head.port
        self.api.put(body)
        return body

    def cluster_without_listener(self) -> None:
        """A RayCluster whose head is not up: nothing listens on its port."""
        self.add_cluster(port=unused_port())

    @contextmanager
    def live(self, **changed: Any) -> Iterator[tuple[LiveDirectory, Heads, LiveSettings]]:
        settings = self.settings(**changed)
        directory, heads = open_live(settings)
        try:
            yield directory, heads, settings
        finally:
            directory.close()


@contextmanager
def world(directory: Path) -> Iterator[World]:
    with ApiServer().running() as api, Head(session=RUNNING).running() as head:
        yield World(api, head, directory)
