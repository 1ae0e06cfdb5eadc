"""Which headers pass the proxy, and which URLs it can make."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.headers import to_client, to_head
from shared.errors import InvalidReference, KubernetesUnavailable, SettingsError
from shared.live.heads import Heads
from shared.live.port import LiveCluster, NoLiveClusters
from shared.settings import LiveSettings

CLUSTER = LiveCluster("default", "raycap", "u", datetime(2026, 11, 23, tzinfo=UTC), head_service="raycap-head-svc")


def sent(*headers: tuple[str, str], credentials: dict[str, str] | None = None, client_token: bool = False) -> dict[str, str]:
    given_headers = [(n.encode(), v.encode()) for n, v in headers]
    return {n.decode(): v.decode() for n, v in to_head(given_headers, credentials or {}, client_token=client_token)}


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
        *("Host", "Authorization", "Cookie", "X-Ray-Authorization"),
        *("X-Forwarded-For", "X-Forwarded-Access-Token", "Forwarded", "X-Real-Ip", "Via", "X-Auth-Request-Email"),
        *("Impersonate-User", "Impersonate-Group", "X-Remote-User", "Sec-WebSocket-Protocol"),
    ],
)
def test_these_never_reach_a_head(name: str) -> None:
    assert name.lower() not in sent((name, "secret"), ("accept", "*/*"))


def test_headers_that_the_connection_header_names_stay_behind() -> None:
    got = sent(("connection", "close, X-Hop"), ("x-hop", "1"), ("x-end", "2"))
    assert "x-hop" not in got
    assert got["x-end"] == "2"


def test_ours_replace_the_clients_credentials() -> None:
    got = sent(("x-ray-authorization", "Bearer theirs"), credentials={"x-ray-authorization": "Bearer ours"})
    assert got["x-ray-authorization"] == "Bearer ours"


def test_a_kubernetes_token_cluster_gets_the_callers_own() -> None:
    got = sent(("x-ray-authorization", "Bearer theirs"), ("authorization", "Bearer other"), client_token=True)
    assert got["x-ray-authorization"] == "Bearer theirs"
    assert "authorization" not in got


def test_the_answers_encoding_is_the_clients_choice() -> None:
    assert sent()["accept-encoding"] == "identity"
    assert sent(("Accept-Encoding", "gzip"))["accept-encoding"] == "gzip"


def answered(*headers: tuple[str, str], prefix: str = "/p") -> dict[str, str]:
    given_headers = [(n.encode(), v.encode()) for n, v in headers]
    return {n.decode(): v.decode() for n, v in to_client(given_headers, origin="http://head:8265", prefix=prefix)}


def test_cookies_and_hops_of_a_head_stay_behind() -> None:
    got = answered(("Set-Cookie", "session_name=evil"), ("Transfer-Encoding", "chunked"), ("Server", "x"), ("Content-Type", "text/plain"))
    assert got == {"content-type": "text/plain", "cache-control": "no-store"}
    assert answered(("Cache-Control", "max-age=5"))["cache-control"] == "max-age=5"


@pytest.mark.parametrize(
    "name",
    [
        *("Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Refresh", "Link", "WWW-Authenticate"),
        *("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "X-Accel-Redirect", "Report-To", "NEL", "X-Request-Id"),
    ],
)
def test_what_would_hold_for_the_whole_origin_stays_behind(name: str) -> None:
    assert answered((name, "x"), ("Cache-Control", "no-cache")) == {"cache-control": "no-cache"}


def test_what_is_about_the_answer_is_passed_on() -> None:
    about = {
        "content-encoding": "gzip",
        "content-length": "5",
        "etag": '"x"',
        "content-range": "bytes 0-4/9",
        "cache-control": "private",
        "x-own": "1",
    }
    assert answered(*about.items()) == about


@pytest.mark.parametrize(
    ("location", "moved"),
    [
        ("/a?b", "/p/a?b"),
        ("http://head:8265/a", "/p/a"),
        ("b", "b"),
        ("//elsewhere/a", "//elsewhere/a"),
        ("http://elsewhere/a", "http://elsewhere/a"),
    ],
)
def test_redirects_stay_below_the_prefix(location: str, moved: str) -> None:
    assert answered(("Location", location))["location"] == moved


def heads(**settings: object) -> Heads:
    return Heads(NoLiveClusters(), LiveSettings(**settings), None)  # type: ignore[arg-type]


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#?"), max_size=60))
def test_no_path_changes_the_target(path: str) -> None:
    try:
        url = heads().url(CLUSTER, "/" + path, "q=http://evil/")
    except InvalidReference:
        return
    assert (url.scheme, url.host, url.port, url.userinfo) == ("http", "raycap-head-svc.default.svc", 8265, b"")
    assert ".." not in url.path.split("/")


@pytest.mark.parametrize("path", ["/a/../b", "/..", "/%2e%2e/b", "/%252e%252e/b", "/a/%2E./b", "/a\\..\\b", "relative", "/./a"])
def test_climbing_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidReference):
        heads().url(CLUSTER, path)


def test_encoded_paths_stay_as_they_are() -> None:
    assert heads().url(CLUSTER, "/logs/a%2Fb%20c", "x=%2F&y=1+2") == httpx.URL(
        "http://raycap-head-svc.default.svc:8265/logs/a%2Fb%20c?x=%2F&y=1+2"
    )
    assert heads().url(CLUSTER, "/logs/a%2Fb").raw_path == b"/logs/a%2Fb"


def test_a_cluster_without_a_head_has_no_url() -> None:
    with pytest.raises(KubernetesUnavailable, match="no running head"):
        heads().url(LiveCluster("default", "raycap", "u", CLUSTER.created), "/")


@pytest.mark.parametrize("template", ["{host}", "{service", "{0}"])
def test_a_wrong_host_template_stops_the_start(template: str) -> None:
    with pytest.raises(SettingsError, match="RAY_HISTORY_DASHBOARD_HOST"):
        heads(dashboard_host=template)
