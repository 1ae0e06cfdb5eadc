"""Is a stored session dead, or the one that a running cluster answers for? The rules of docs/live-clusters.md, as pure functions.

What cannot be known is neither: it is UNKNOWN, is never kept, and ends as "could not look".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from shared.live.port import LiveCluster
from shared.sessions import created_at

# A session's name carries the head's own clock, maybe in its local time zone: only a larger distance proves an order.
CLOCK_DOUBT = timedelta(hours=24)


class State(Enum):
    """What is known of a session now."""

    DEAD = "dead"
    LIVE = "live"
    UNKNOWN = "unknown"
    ASK = "ask the head"


@dataclass(frozen=True, slots=True)
class Decision:
    """A state and, in a few words, why."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class HeadAnswer:
    """What `GET /api/version` gave: the session's name, or what went wrong instead."""

    session: str | None = None
    problem: str = ""
    refused: bool = False
    """It wants another token: the one that was sent may be an old one."""


def before_asking(session: str, cluster: LiveCluster | None) -> Decision:
    """What Kubernetes alone tells: DEAD, UNKNOWN, or that the head must be asked."""
    if cluster is None:
        return Decision(State.DEAD, "its RayCluster is gone")
    if cluster.suspended:
        return Decision(State.DEAD, "its RayCluster is suspended and has no head")
    began = created_at(session)
    # A fault tolerant GCS may have handed an older cluster's session on to this one: then age proves nothing.
    if began < cluster.created - CLOCK_DOUBT and not cluster.fault_tolerant:
        return Decision(State.DEAD, "it is older than the RayCluster of that name")
    if not cluster.answering:
        # KubeRay makes the head's service and says so in the status before the first head can have a session.
        if began < cluster.created and not cluster.fault_tolerant:
            return Decision(State.DEAD, "it is older than the RayCluster of that name, which has had no head yet")
        return Decision(State.UNKNOWN, f"RayCluster {cluster.key} has no head service yet")
    return Decision(State.ASK, "its RayCluster is there")


def after_asking(session: str, cluster: LiveCluster, answer: HeadAnswer) -> Decision:
    """What the head's answer tells."""
    if answer.session is None:
        return Decision(State.UNKNOWN, f"the head of RayCluster {cluster.key} {answer.problem}")
    if answer.session == session:
        return Decision(State.LIVE, "the head answers for it")
    return Decision(State.DEAD, f"the head answers for {answer.session}")


def outdated(answer: HeadAnswer, session: str) -> bool:
    """Is a kept answer about another session maybe older than this one? The head may have restarted since."""
    return answer.session is not None and answer.session != session and created_at(session) > created_at(answer.session)


def read_answer(status: int, body: bytes, session: str | None, cluster: LiveCluster) -> HeadAnswer:
    """An HTTP answer of `GET /api/version`, of which `session` is the decoded `session_name`."""
    if status == 200:
        if session is None:
            return HeadAnswer(problem="does not say its session in /api/version")
        return HeadAnswer(session)
    if status in (401, 403):
        return HeadAnswer(problem=explain_refusal(status, cluster), refused=True)
    return HeadAnswer(problem=f"answered {status} to /api/version: {body[:200].decode(errors='replace').strip()}")


def explain_refusal(status: int, cluster: LiveCluster) -> str:
    """Why a dashboard answered 401 or 403, for people. Starts with a verb."""
    if cluster.auth == "token":
        return (
            f"answered {status}: it does not accept the token of Secret {cluster.namespace}/{cluster.token_secret}; "
            "a head keeps the token that it was started with"
        )
    if cluster.auth == "kubernetes":
        return f"answered {status}: it wants a Kubernetes token of each caller (enableK8sTokenAuth); send yours as X-Ray-Authorization"
    return f"answered {status}: it wants a token, but the RayCluster's spec.authOptions name none that could be sent"
