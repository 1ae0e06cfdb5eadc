import os, signal, time, sys
from tests.gated_bucket import gated_bucket
from tests.servers import deployment
import tests.conftest
S="session_2026-11-23_19-00-40_785172_1"
def test_handback(tmp_path, recorded, redis_server):
    with gated_bucket(recorded) as bucket, deployment(tmp_path, redis_server, bucket.storage, WORKER_GRACE=20, LEASE=20, QUEUE_LEASE=60) as d:
        ref=bucket.add("slow", S)
        api=d.api(); w=d.worker(2, WORKER_PORT=18123)
        import httpx
        print(httpx.get("http://127.0.0.1:18123/readz").text)
        with bucket.closed(ref) as gate:
            print(api.get(f"/enter_cluster/{ref}").status_code)
            assert gate.reached.wait(20)
            t=time.time(); w.process.terminate(); time.sleep(1); gate.open.set(); w.process.wait(30); print("ended after", time.time()-t, w.process.returncode)
        print(w.said)
        w2=d.worker(1, WORKER_PORT=18123)
        t=time.time(); rec=api.load(ref); print(time.time()-t, rec["attempt"])
        print([l for l in httpx.get("http://127.0.0.1:18123/metrics").text.splitlines() if not l.startswith("#") and "bucket" not in l])
        print(w2.said)
