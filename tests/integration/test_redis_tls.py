"""A Redis that is reached by `rediss://`: verified by our own authority, by every client of ours and by Celery's."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from shared.errors import StoreUnavailable
from shared.settings import RedisSettings
from shared.store.client import open_redis, redis_errors
from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL
from tests.servers import RedisServer, deployment
from tests.tls_proxy import make_certificate, tls_proxy


def test_a_session_is_loaded_over_tls(
    redis_server: RedisServer, bucket: GatedBucket, cluster: str, database: count[int], tmp_path: Path
) -> None:
    ref = bucket.add(cluster, SMALL)
    certificate, key = make_certificate(tmp_path)
    number = next(database)
    with tls_proxy(redis_server.port, certificate, key) as port:
        settings = {"REDIS_URL": f"rediss://127.0.0.1:{port}/{number}", "REDIS_CA": certificate}
        with deployment(tmp_path, redis_server, bucket.storage, number, **settings) as whole:
            api = whole.api()
            whole.worker(1)
            assert api.load(ref)["complete"] is True
    with redis_server.client(number) as client:
        assert client.dbsize() > 0


@pytest.mark.parametrize("trusted", [True, False])
def test_whom_we_trust(redis_server: RedisServer, tmp_path: Path, trusted: bool) -> None:
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(redis_server.port, certificate, key) as port:
        settings = RedisSettings(redis_url=f"rediss://127.0.0.1:{port}/0", redis_ca=str(certificate) if trusted else "")  # type: ignore[arg-type]
        with open_redis(settings) as client:
            if trusted:
                assert client.ping()
            else:
                with pytest.raises(StoreUnavailable, match=r"(?i)certificate"), redis_errors():
                    client.ping()
