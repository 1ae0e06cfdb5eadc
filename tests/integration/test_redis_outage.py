"""Redis goes away and comes back: 503 meanwhile, and everything as before afterwards, on each server of the matrix."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import httpx

from cli.embedded_server import free_port
from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL
from tests.servers import RedisServer, deployment
from tests.waiting import wait_until


def test_an_outage_of_redis_is_503_and_heals(
    any_redis: RedisServer, tmp_path: Path, bucket: GatedBucket, database: count[int], cluster: str
) -> None:
    loaded, other, third = bucket.add(cluster, RICH), bucket.add(f"{cluster}x", SMALL), bucket.add(f"{cluster}y", SMALL)
    with deployment(tmp_path, any_redis, bucket.storage, next(database), REDIS_TIMEOUT=1) as whole:
        port = free_port()
        api, worker = whole.api(), whole.worker(WORKER_PORT=port)
        worker_ready = f"http://127.0.0.1:{port}/readz"
        api.load(loaded)
        whole_page = api.tasks(loaded)
        assert len(whole_page.json()["data"]["result"]["result"]) == 329
        any_redis.stop()
        # A process takes a generation for current for a second.
        wait_until(lambda: api.get(f"/enter_cluster/{loaded}").status_code == 503, "the outage is seen", 10)
        for path in (f"/enter_cluster/{loaded}", f"/enter_cluster/{other}", f"/sessions/{loaded}", "/sessions"):
            answer = api.get(path)
            assert answer.status_code == 503, path
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == "store_unavailable"
        assert api.tasks(loaded).status_code == 503
        assert api.client.post(f"/sessions/{other}/load").status_code == 503
        assert api.client.delete(f"/sessions/{loaded}").status_code == 503
        assert api.get("/livez").status_code == 200
        assert (api.get("/readz").status_code, api.get("/readz").json()["missing"]) == (503, ["redis"])
        assert api.get("/clusters").status_code == 200
        wait_until(lambda: httpx.get(worker_ready).json()["missing"] == ["broker", "redis"], "the worker's outage is seen")
        any_redis.start()
        wait_until(lambda: api.get("/readz").status_code == 200, "ready again")
        wait_until(lambda: httpx.get(worker_ready).status_code == 200, "the worker is ready again")
        assert api.state(loaded) == "loaded"
        assert api.tasks(loaded).content == whole_page.content
        assert api.load(other)["attempt"] == 1

        # An outage in the middle of a load: the worker goes on, or somebody takes it over.
        with bucket.closed(third) as gate:
            api.get(f"/enter_cluster/{third}")
            assert gate.reached.wait(20)
            any_redis.stop()
            gate.open.set()
            any_redis.start()
        assert api.load(third)["complete"] is True
        assert worker.runs()
