"""The examples in deploy/collector: pods that Kubernetes takes, variables that the collector and Ray know, options that KubeRay's operator takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from collector.ray_env import ray_environment
from shared.kuberay_env import kuberay_storage
from shared.settings import CollectSettings, StorageSettings

DIRECTORY = Path(__file__).parents[2] / "deploy" / "collector"
EXAMPLES = sorted(DIRECTORY.glob("*.yaml"))
# KubeRay's operator refuses these: it sets them itself (validateCollectorOptions).
MANAGED = {"POD_IP", "FQ_RAY_IP", "RAY_CLUSTER_NAME", "RAY_CLUSTER_NAMESPACE", "RAY_ROLE", "OWNER_KIND", "OWNER_NAME", "EVENTS_PORT"}


def templates(example: Path) -> list[dict[str, Any]]:
    spec = yaml.safe_load(example.read_text())["spec"]
    return [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_its_pods_are_valid(example: Path) -> None:
    for number, template in enumerate(templates(example)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, "1.30", strict=True)


def test_the_sidecar_shares_rays_directory_and_has_settings_of_ours() -> None:
    for template in templates(DIRECTORY / "raycluster-sidecar.yaml"):
        ray, collector = template["spec"]["containers"]
        assert collector["args"] == ["collect"]
        assert ray["volumeMounts"] == collector["volumeMounts"] == [{"name": "ray", "mountPath": CollectSettings().collect_ray_dir}]
        given = {variable["name"]: variable.get("value") for variable in ray["env"]}
        needed = ray_environment((2, 60), "http://127.0.0.1:8084/v1/events")
        assert given == {name: needed[name] for name in given}
        assert len(given) == 4
        fields = {*CollectSettings.model_fields, *StorageSettings.model_fields}
        ours = [variable["name"] for variable in collector["env"] if variable["name"].startswith("RAY_HISTORY_")]
        assert {name.removeprefix("RAY_HISTORY_").lower() for name in ours} <= fields


def test_the_operator_takes_the_injected_options_and_the_collector_its_variables() -> None:
    spec = yaml.safe_load((DIRECTORY / "raycluster-injected.yaml").read_text())["spec"]
    options = spec["historyServerOptions"]["collectorOptions"]
    assert set(options) <= {"image", "imagePullPolicy", "resources", "env"}
    env = {variable["name"]: variable["value"] for variable in options["env"]}
    assert not MANAGED & set(env)
    assert kuberay_storage(env)["storage"] == "s3://ray-history"
    for template in templates(DIRECTORY / "raycluster-injected.yaml"):
        assert "collector" not in [container["name"] for container in template["spec"]["containers"]]
