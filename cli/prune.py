"""`ray-history prune`: deletes old sessions from the storage."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import preflight
from cli.collect import use_storage
from cli.output import Failed
from shared.errors import StorageUnavailable
from shared.live.factory import open_live
from shared.retention import Policy, Retention, age
from shared.sessions import is_name
from shared.settings import Settings
from shared.storage.factory import open_storage, open_writer

# So many sessions in a row that failed are an outage.
_OUTAGE = 3


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
    try:
        kept_for = age(older_than)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--older-than") from exc
    for name in namespace or ():
        if not is_name(name):
            # An empty one, of a variable that is not set, must not mean all of them.
            raise typer.BadParameter(f"{name!r} is no namespace", param_hint="--namespace")
    settings = Settings.from_environment()
    policy = Policy(dict.fromkeys(namespace or [""], kept_for), keep_failed)
    stored = open_storage(settings.storage)
    writer = None if dry_run else open_writer(settings.storage)
    stored.check()
    directory, heads = open_live(settings.live, stored)
    retention = Retention(policy, stored, writer, (directory, heads, settings.live))
    sessions = objects = freed = failed = failed_in_a_row = 0
    try:
        for stored_session, limit in retention.old_sessions(datetime.now(UTC)):
            session = stored_session.session
            try:
                verdict = retention.apply(stored_session, limit)
            except StorageUnavailable as exc:
                failed, failed_in_a_row = failed + 1, failed_in_a_row + 1
                print(f"failed   {session.ref}  {exc}", file=sys.stderr)
                if failed_in_a_row >= _OUTAGE:
                    raise
                continue
            failed_in_a_row = 0
            if verdict is None:
                continue
            if verdict.kept:
                print(f"kept     {session.ref}  {verdict.kept}")
                continue
            content = verdict.content
            print(f"{'would go' if dry_run else 'deleted '} {session.ref}  {_amount(content.objects, content.bytes)}")
            sessions, objects, freed = sessions + 1, objects + content.objects, freed + content.bytes
    finally:
        directory.close()
        if writer:
            writer.close()
        stored.close()
    print(f"{'would free' if dry_run else 'freed'} {_amount(objects, freed)} of {sessions} sessions")
    if failed:
        raise Failed(f"{failed} sessions could not be looked at, or not deleted")


def _amount(objects: int, size: int) -> str:
    return f"{size / 2**20:.1f} MiB in {objects} objects"
