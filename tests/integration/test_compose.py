"""compose.yaml: what `docker compose config` says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.composed import ROOT, command_of, services
from tests.valkey_command import start_recorded


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return services()


def test_the_parts(found: dict[str, Any]) -> None:
    assert set(found) == {"redis", "api-1", "api-2", "proxy", "worker", "flower", "objects", "recorded"}
    assert found["worker"]["deploy"]["replicas"] == 2
    assert {found[name]["image"] for name in ("api-1", "api-2", "worker", "flower")} == {"ray-history-server"}
    assert found["recorded"]["build"]["target"] == "recorded"


def test_only_the_proxy_and_flower_are_reached_and_only_from_here(found: dict[str, Any]) -> None:
    published = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in found.items()}
    assert {name: hosts for name, hosts in published.items() if hosts} == {"proxy": ["127.0.0.1"], "flower": ["127.0.0.1"]}


def test_redis_keeps_everything(found: dict[str, Any], tmp_path: Path) -> None:
    started = start_recorded(command_of(found["redis"]), found["redis"]["environment"], tmp_path)
    assert started.options["--appendonly"] == "yes"
    assert started.options["--maxmemory-policy"] == "noeviction"


def test_redis_wants_a_password_that_no_command_line_shows(tmp_path: Path) -> None:
    service = services(REDIS_PASSWORD="a-secret-%s-of-ours")["redis"]
    started = start_recorded(command_of(service), service["environment"], tmp_path)
    assert started.configuration == ['requirepass "a-secret-%s-of-ours"']
    assert "a-secret" not in " ".join([*service["command"], *started.words])


def test_an_engine_waits_long_enough(found: dict[str, Any]) -> None:
    for name in ("api-1", "api-2"):
        said = found[name]["environment"]
        needed = float(said["RAY_HISTORY_DRAIN"]) + float(said["RAY_HISTORY_SHUTDOWN_GRACE"])
        assert float(found[name]["stop_grace_period"].removesuffix("s")) > needed
    worker = found["worker"]
    assert float(worker["stop_grace_period"].removesuffix("s")) >= float(worker["environment"]["RAY_HISTORY_WORKER_GRACE"]) + 10


def test_our_containers_may_do_little(found: dict[str, Any]) -> None:
    for name in ("api-1", "api-2", "worker", "flower"):
        assert found[name]["read_only"] is True
        assert found[name]["cap_drop"] == ["ALL"]
        assert found[name]["tmpfs"] == ["/tmp"]


def test_your_own_bucket() -> None:
    found = services(STORAGE="s3://mine/root", AWS_ENDPOINT_URL_S3="", WORKERS="5", PORT="9000", REDIS_PASSWORD="other")
    for name in ("api-1", "worker", "flower"):
        environment = found[name]["environment"]
        assert environment["RAY_HISTORY_STORAGE"] == "s3://mine/root"
        assert environment["AWS_ENDPOINT_URL_S3"] == ""
        assert ":other@" in environment["RAY_HISTORY_REDIS_URL"]
    assert found["worker"]["deploy"]["replicas"] == 5
    assert found["proxy"]["ports"][0]["published"] == "9000"


def test_what_it_builds_is_in_the_dockerfile(found: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    for service in found.values():
        if "build" in service:
            assert f" AS {service['build'].get('target', 'runtime')}" in text
            for argument in service["build"].get("args", {}):
                assert f"ARG {argument}=" in text
