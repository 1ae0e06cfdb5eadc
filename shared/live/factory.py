"""Opens what a process needs of live clusters, by its settings."""

from __future__ import annotations

from shared.live.announced import AnnouncedClusters
from shared.live.heads import Heads
from shared.live.port import LiveDirectory, NoLiveClusters
from shared.settings import LiveSettings
from shared.storage.port import Storage


def open_live(settings: LiveSettings, storage: Storage | None = None) -> tuple[LiveDirectory, Heads]:
    """The directory of live clusters and the way to their heads. Call it after any fork. Raises SettingsError.

    `storage` holds what collectors announce, where that is to be believed and no Kubernetes is there to ask.

    The official client takes a second to import: a process without Kubernetes does not pay for it.
    """
    if settings.kubernetes == "none":
        directory: LiveDirectory = NoLiveClusters()
        if settings.announced and storage is not None:
            directory = AnnouncedClusters(storage, settings.announced_age)
        return directory, Heads(directory, settings, None)
    from shared.live.directory import KubernetesDirectory  # noqa: PLC0415
    from shared.live.kubernetes import KubernetesApi  # noqa: PLC0415

    api = KubernetesApi(settings)
    directory = KubernetesDirectory(api, settings)
    return directory, Heads(directory, settings, api.configuration)
