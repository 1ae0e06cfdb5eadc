"""`ray-history prune`: deletes old sessions from the storage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import preflight
from cli.collect import use_storage
from shared.errors import KubernetesUnavailable, SessionIsLive
from shared.layout import METADATA_PREFIX, session_of_marker
from shared.live.factory import open_live
from shared.live.resolver import ensure_dead
from shared.retention import Content, content_of, delete_session, has_failed_job
from shared.sessions import Session
from shared.settings import Settings
from shared.storage.factory import open_storage, open_writer
from shared.storage.port import Storage

_AGE = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def prune(
    older_than: Annotated[str, typer.Option(help="Delete sessions that nothing was added to for so long: 90d, 12w, 48h.")],
    storage: Annotated[str, typer.Option(help="The storage: a URL or a directory.", envvar="RAY_HISTORY_STORAGE", show_default=False)] = "",
    namespace: Annotated[list[str] | None, typer.Option(help="Only this namespace; repeatable.", show_default=False)] = None,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Keep sessions in which a submitted job failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete old sessions from the storage, and say what that freed.

    Never a session that runs: those of clusters that Kubernetes or a collector's heartbeat knows, and those with new events.
    May be interrupted: the next run goes on. Needs the right to delete, which nothing else of the history server does.
    """
    use_storage(preflight.storage_url(storage))
    before = datetime.now(UTC) - _age(older_than)
    settings = Settings.from_environment()
    stored, writer = open_storage(settings.storage), open_writer(settings.storage)
    stored.check()
    directory, heads = open_live(settings.live, stored)
    wanted = set(namespace or ())
    sessions = objects = freed = 0
    try:
        for session in _sessions(stored):
            if session.created >= before or (wanted and session.namespace not in wanted):
                continue
            content = content_of(stored, session)
            if content.last_event >= before:
                continue
            try:
                ensure_dead(session, directory, heads, settings.live)
            except (SessionIsLive, KubernetesUnavailable) as exc:
                print(f"kept     {session.ref}  {exc}")
                continue
            if keep_failed and has_failed_job(stored, content):
                print(f"kept     {session.ref}  a job of it failed")
                continue
            if not dry_run:
                delete_session(stored, writer, session)
            print(f"{'would go' if dry_run else 'deleted '} {session.ref}  {_amount(content)}")
            sessions, objects, freed = sessions + 1, objects + content.objects, freed + content.bytes
    finally:
        directory.close()
        writer.close()
        stored.close()
    print(f"{'would free' if dry_run else 'freed'} {_amount(Content(objects, freed, before, ()))} of {sessions} sessions")


def _sessions(storage: Storage) -> Iterable[Session]:
    """By their markers, the oldest first."""
    found = {session for info in storage.list(METADATA_PREFIX) if (session := session_of_marker(info.key))}
    return sorted(found, key=lambda session: (session.created, str(session.ref)))


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no age: write a number and h, d or w, such as 90d", param_hint="--older-than")
    return int(match[1]) * _UNITS[match[2]]


def _amount(content: Content) -> str:
    return f"{content.bytes / 2**20:.1f} MiB in {content.objects} objects"
