# ruff: noqa: T201 - it is for people
"""What the history server sees of a real cluster: `python tests/real_cluster.py --help`.

Reads only: checks the permissions of docs/live-clusters.md, lists RayClusters, asks each head for its session, and fetches one answer of
each dashboard through the proxy's own client. With `--watch` it then prints changes as the watch brings them. Without a way to the heads'
services (outside the cluster's network) use `--apiserver`. Exit code 0: everything that was tried worked.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import urllib3
from kubernetes import client

from shared.errors import HistoryError
from shared.live.factory import open_live
from shared.live.head_probe import HeadProbe
from shared.live.heads import Heads
from shared.live.kubernetes import read_configuration
from shared.live.port import LiveCluster, LiveDirectory
from shared.settings import LiveSettings

CHECKED_PATH = "/api/v0/cluster_metadata"


def main() -> int:
    settings, watch = _options()
    try:
        directory, heads = open_live(settings)
    except HistoryError as exc:
        print(f"{exc.code}: {exc}", file=sys.stderr)
        return 1
    try:
        good = _permissions(settings)
        clusters = list(directory.clusters())
        print(f"\n{len(clusters)} RayClusters, listing {directory.age():.1f} s old")
        good = asyncio.run(_ask_all(clusters, heads, settings)) and good
        if watch:
            _follow(directory, watch)
    except HistoryError as exc:
        print(f"{exc.code}: {exc}", file=sys.stderr)
        return 1
    except (client.ApiException, urllib3.exceptions.HTTPError) as exc:
        print(f"permissions cannot be asked for: {exc}", file=sys.stderr)
        return 1
    finally:
        directory.close()
    return 0 if good else 1


def _options() -> tuple[LiveSettings, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", default="", help="default: the usual places")
    parser.add_argument("--context", default="", help="default: the current one")
    parser.add_argument("--namespace", default="", help="namespaces to watch, separated by commas; default: all")
    parser.add_argument("--apiserver", action="store_true", help="reach dashboards through the API server")
    parser.add_argument("--incluster", action="store_true", help="inside a pod, with its service account")
    parser.add_argument("--watch", type=float, default=0.0, metavar="SECONDS", help="print changes this long")
    given = parser.parse_args()
    settings = LiveSettings(
        kubernetes="incluster" if given.incluster else "kubeconfig",
        kubeconfig=given.kubeconfig,
        kube_context=given.context,
        kubernetes_namespaces=given.namespace,
        dashboard_access="apiserver" if given.apiserver else "service",
    )
    return settings, given.watch


def _permissions(settings: LiveSettings) -> bool:
    """Ask Kubernetes for each permission that the documentation lists."""
    api = client.AuthorizationV1Api(client.ApiClient(read_configuration(settings)))
    wanted = [("ray.io", "rayclusters", verb) for verb in ("get", "list", "watch")]
    wanted += [("ray.io", "rayservices", "get"), ("", "secrets", "get")]
    if settings.dashboard_access == "apiserver":
        wanted.append(("", "services/proxy", "get"))
    good = True
    for namespace in settings.namespaces or ("",):
        for group, resource, verb in wanted:
            name, _, sub = resource.partition("/")
            attributes = client.V1ResourceAttributes(
                group=group, resource=name, subresource=sub or None, verb=verb, namespace=namespace or None
            )
            spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
            review = client.V1SelfSubjectAccessReview(spec=spec)
            allowed = api.create_self_subject_access_review(review, _request_timeout=settings.kubernetes_timeout).status.allowed
            print(f"{'may' if allowed else 'MAY NOT':8}{verb:6}{resource:16}{namespace or 'everywhere'}")
            good = good and bool(allowed)
    return good


async def _ask_all(clusters: list[LiveCluster], heads: Heads, settings: LiveSettings) -> bool:
    async with heads.client() as http:
        asker = HeadProbe(heads, settings, http)
        good = True
        for cluster in clusters:
            owner = f" of {cluster.owner_kind} {cluster.owner_name}" if cluster.owner_kind else ""
            print(f"\n{cluster.key}{owner}, since {cluster.created:%Y-%m-%d %H:%M}, auth {cluster.auth}")
            if not cluster.answering:
                print("  no head: suspended" if cluster.suspended else "  no head service yet")
                continue
            began = time.perf_counter()
            answer = await asker.ask(cluster)
            print(f"  {answer.session or f'UNKNOWN: the head {answer.problem}'} ({(time.perf_counter() - began) * 1000:.0f} ms)")
            good = good and answer.session is not None
            if answer.session:
                headers = await asyncio.to_thread(heads.credentials, cluster)
                got = await http.get(heads.url(cluster, CHECKED_PATH), headers=headers, extensions=heads.extensions)
                print(f"  GET {CHECKED_PATH}: {got.status_code}, {len(got.content)} bytes")
                good = good and got.status_code == 200
    return good


def _follow(directory: LiveDirectory, seconds: float) -> None:
    print(f"\nwatching for {seconds:.0f} s")
    known = {cluster.key: cluster for cluster in directory.clusters()}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)  # between two looks at what the watch brought
        now = {cluster.key: cluster for cluster in directory.clusters()}
        for key in sorted(known.keys() | now.keys()):
            if known.get(key) != now.get(key):
                print(f"  {'-' if key not in now else '+' if key not in known else '~'} {now.get(key) or key}")
        known = now


if __name__ == "__main__":
    sys.exit(main())
