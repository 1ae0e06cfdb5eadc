"""No Kubernetes: nothing runs, so every stored session is dead."""

from __future__ import annotations

from collections.abc import Sequence

from shared.live.port import LiveCluster
from shared.sessions import SessionRef


class NoLiveClusters:
    """The LiveDirectory of a history server without a cluster."""

    enabled = False

    def watch(self) -> None:
        return None

    def clusters(self) -> Sequence[LiveCluster]:
        return ()

    def find(self, ref: SessionRef) -> LiveCluster | None:  # noqa: ARG002 - the port's signature
        return None

    def get(self, namespace: str, name: str) -> LiveCluster | None:  # noqa: ARG002
        return None

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:  # noqa: ARG002
        return None

    def token(self, cluster: LiveCluster, *, fresh: bool = False) -> str | None:  # noqa: ARG002
        return None

    def age(self) -> float | None:
        return 0.0

    def close(self) -> None:
        return None
