"""References to sessions, cookies that carry them, cursors between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from api.sessions import listing
from api.sessions.cookies import NAMES, cookie_headers, reference_of
from shared.errors import InvalidReference, NoSessionChosen
from shared.sessions import KINDS, Session, SessionRef, created_at

NAME = "session_2026-11-23_19-00-40_785172_1"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("default/raycluster/raycap", SessionRef("default", "raycluster", "raycap", "latest")),
        (f"default/RayCluster/raycap/{NAME}", SessionRef("default", "raycluster", "raycap", NAME)),
        ("a/rayjob/b.c-d/live", SessionRef("a", "rayjob", "b.c-d", "live")),
        ("/a/rayservice/b/latest/", SessionRef("a", "rayservice", "b", "latest")),
    ],
)
def test_references_are_read(text: str, ref: SessionRef) -> None:
    assert SessionRef.parse(text) == ref
    assert SessionRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/raycluster", "a/pod/b", "A/raycluster/b", "a/raycluster/b_c", "a/raycluster/-b", "a/raycluster/b-", "a/raycluster/b/session", "a/raycluster/../b", "../raycluster/b/latest", "a/raycluster/b..c", "a/raycluster/" + "b" * 254, f"a/raycluster/b/{NAME}/c", "a/raycluster/b/session_2026-02-30_00-00-00_000000", "a/raycluster/b/session_2026-11-23_19-00-40_785172_1\n", "a b/raycluster/c"],
)  # fmt: skip
def test_what_no_session_could_be_called_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        SessionRef.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        ref = SessionRef.parse(text)
    except InvalidReference:
        return
    assert SessionRef.parse(str(ref)) == ref


def test_a_sessions_name_tells_when_it_was_created() -> None:
    assert created_at(NAME) == datetime(2026, 11, 23, 19, 0, 40, 785172, tzinfo=UTC)
    assert created_at("session_2026-11-23_19-00-40_5") == datetime(2026, 11, 23, 19, 0, 40, 500000, tzinfo=UTC)


def test_owned_sessions_are_named_by_their_owner_and_keyed_by_their_cluster() -> None:
    owned = Session("batch", "rj-x7", NAME, "rayjob", "rj")
    assert str(owned.ref) == f"batch/rayjob/rj/{NAME}"
    assert owned.key == Session("batch", "rj-x7", NAME).key == f"batch/rj-x7/{NAME}"
    assert Session.from_dict(owned.to_dict()) == owned


_refs = st.builds(
    SessionRef, st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), st.sampled_from(KINDS), st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True),
    st.sampled_from(["latest", "live", NAME]),
)  # fmt: skip


@given(_refs)
def test_cookies_lead_back_to_the_reference(ref: SessionRef) -> None:
    headers = [value.decode() for name, value in cookie_headers(ref, 600) if name == b"set-cookie"]
    assert len(headers) == len(NAMES)
    for header in headers:
        assert {"Path=/", "Max-Age=600", "HttpOnly", "SameSite=Lax"} <= set(header.split("; "))
    sent = cookie_parser("; ".join(header.split(";")[0] for header in headers))
    assert set(sent) == set(NAMES)
    assert reference_of(sent) == ref


def test_kuberays_cookies_are_understood() -> None:
    """Its `cluster_name` is the cluster's even when an owner is given."""
    cookies = {"cluster_name": "rj-x7", "cluster_namespace": "batch", "session_name": NAME, "owner_kind": "RayJob", "owner_name": "rj"}
    assert reference_of(cookies) == SessionRef("batch", "rayjob", "rj", NAME)
    assert reference_of({"cluster_name": "a", "cluster_namespace": "b"}) == SessionRef("b", "raycluster", "a", "latest")


def test_no_cookies_are_no_session() -> None:
    for cookies in ({}, {"other": "x"}, dict.fromkeys(NAMES, "")):
        with pytest.raises(NoSessionChosen):
            reference_of(cookies)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_any_cookies_are_read_or_refused(cookies: dict[str, str]) -> None:
    try:
        reference_of(cookies)
    except (InvalidReference, NoSessionChosen):
        return


@given(_refs.filter(lambda ref: ref.session == NAME))
def test_cursors_lead_back_to_their_row(ref: SessionRef) -> None:
    row = listing.session_row(Session(ref.namespace, "c", NAME, None if ref.kind == "raycluster" else ref.kind, ref.name))
    assert listing.read_cursor(listing.make_cursor(row)) == listing.order(row)


@given(st.text(max_size=60))
def test_any_cursor_is_read_or_refused(text: str) -> None:
    try:
        found = listing.read_cursor(text)
    except InvalidReference:
        return
    assert found


@pytest.mark.parametrize(("name", "hours"), [("session_0001-01-01_00-00-00_000000_1", 9), ("session_9999-12-31_23-59-59_999999_1", -9)])
def test_a_name_at_the_end_of_the_calendar_stops_no_list(name: str, hours: int) -> None:
    session = Session("ns", "c", name, utc_offset=timedelta(hours=hours))
    assert session.began == session.created
