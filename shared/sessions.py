"""Who a session is: the reference that users write, and the identity that the bucket gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from shared.errors import InvalidReference

Kind = Literal["raycluster", "rayjob", "rayservice"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LATEST = "latest"
LIVE = "live"

# DNS labels and subdomains (Kubernetes names); no `_`, which separates them in marker names.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# KubeRay's DATETIME: session_%Y-%m-%d_%H-%M-%S_%f[_pid]
_SESSION = re.compile(r"session_(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{1,6})(_\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SessionRef:
    """What a user names: `{namespace}/{kind}/{name}/{session}`; `session` may be `latest` or `live`."""

    namespace: str
    kind: Kind
    name: str
    session: str = LATEST

    @classmethod
    def of(cls, namespace: str, kind: str, name: str, session: str | None = None) -> SessionRef:
        """Check every part. Raises InvalidReference."""
        kind = kind.lower()
        if kind not in KINDS:
            raise InvalidReference(f"unknown kind {kind!r}: use one of {', '.join(KINDS)}")
        for what, value in (("namespace", namespace), ("name", name)):
            if not is_name(value):
                raise InvalidReference(f"{value!r} is no valid {what}")
        session = session or LATEST
        if session not in (LATEST, LIVE):
            created_at(session)
        return cls(namespace, kind, name, session)

    @classmethod
    def parse(cls, text: str) -> SessionRef:
        """From `{namespace}/{kind}/{name}[/{session}]`. Raises InvalidReference."""
        parts = text.strip("/").split("/")
        if len(parts) not in (3, 4):
            raise InvalidReference(f"{text!r} is no reference: write namespace/kind/name[/session]")
        return cls.of(*parts)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}/{self.session}"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a cluster's head, as the bucket knows it. Several references may lead to it.

    `prefixes`: where its data lies, unless that is just where the layout of today has it (`shared.layout.data_prefixes`).
    `utc_offset`: that of the head's clock, as far as a listing knows it.
    """

    namespace: str
    cluster: str
    session: str
    owner_kind: Kind | None = None
    owner_name: str | None = None
    prefixes: tuple[str, ...] = field(default=(), compare=False)
    utc_offset: timedelta = field(default=timedelta(), compare=False)

    @property
    def key(self) -> str:
        """The same for every reference to this session: names its Redis keys and its load."""
        return f"{self.namespace}/{self.cluster}/{self.session}"

    @property
    def ref(self) -> SessionRef:
        """The reference by owner when there is one, as KubeRay's frontend writes it."""
        if self.owner_kind and self.owner_name:
            return SessionRef(self.namespace, self.owner_kind, self.owner_name, self.session)
        return SessionRef(self.namespace, "raycluster", self.cluster, self.session)

    @property
    def created(self) -> datetime:
        """The time in its name, taken for UTC."""
        return created_at(self.session)

    @property
    def began(self) -> datetime:
        """The instant that its name means; in the first and the last day of the calendar the time in its name."""
        try:
            return self.created - self.utc_offset
        except OverflowError:
            return self.created

    def to_dict(self) -> dict[str, str | None]:
        return {
            "namespace": self.namespace,
            "cluster": self.cluster,
            "session": self.session,
            "owner_kind": self.owner_kind,
            "owner_name": self.owner_name,
            "prefixes": "\n".join(self.prefixes) or None,
        }

    @classmethod
    def from_dict(cls, data: dict[str, str | None]) -> Session:
        prefixes = data.get("prefixes") or ""
        return cls(**{**data, "prefixes": tuple(prefixes.splitlines())})  # type: ignore[arg-type]


def is_name(text: str) -> bool:
    """May a namespace or cluster be called so?"""
    return bool(_NAME.fullmatch(text)) and ".." not in text


def created_at(session: str) -> datetime:
    """The UTC time in a session's name. Raises InvalidReference for any other text (KubeRay: its DATETIME layout)."""
    match = _SESSION.fullmatch(session)
    if match:
        try:
            return datetime.strptime(match[1], "%Y-%m-%d_%H-%M-%S_%f").replace(tzinfo=UTC)
        except ValueError:
            pass
    raise InvalidReference(f"{session!r} is no session name: expected session_YYYY-MM-DD_HH-MM-SS_ffffff[_pid]")
