"""The `ray-history` command: its subcommands, and the one place where a failure becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer

from cli import configuration
from cli.output import Failed, failed
from cli.version import print_version
from shared.errors import HistoryError

# Where each is, in the order of --help. Only the one that is asked for is imported.
_COMMANDS = {
    "up": "cli.up:up",
    "api": "cli.serve:api",
    "worker": "cli.serve:worker",
    "flower": "cli.flower:flower",
    "collect": "cli.collect:collect",
    "ray-env": "cli.ray_env:ray_env",
    "prune": "cli.prune:prune",
    "sessions": "cli.server_sessions:sessions",
    "status": "cli.server_sessions:status",
    "load": "cli.server_sessions:load",
    "evict": "cli.server_sessions:evict",
    "export": "cli.export:export",
    "logs": "cli.logs:logs",
    "login": "cli.tokens:login",
    "token": "cli.tokens:token",
    "dashboard": "cli.dashboard:app",
    "config": "cli.configuration:config",
    "metrics": "cli.metrics_reference:metrics",
    "version": "cli.version:version",
}


def command_line(names: Iterable[str] = tuple(_COMMANDS)) -> typer.Typer:
    """The whole command, or with only some of its subcommands."""
    app = typer.Typer(
        name="ray-history",
        help="The Ray dashboard for clusters that no longer exist.",
        epilog="REF is {namespace}/{kind}/{name}[/{session}], kind raycluster, rayjob or rayservice; without a session: the latest.",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name in names:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version, and end.", is_eager=True, callback=print_version)] = False,
) -> None:
    """The Ray dashboard for clusters that no longer exist."""


def __getattr__(name: str) -> Any:
    """`app`, for whoever looks at the whole command."""
    if name != "app":
        raise AttributeError(name)
    return command_line()


def main() -> None:
    """Run the command of `sys.argv`. Exit codes: 0 ok, 1 failed, 2 wrong usage."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of one command; its failure is one line on stderr."""
    for line in configuration.warnings(os.environ):
        print(f"ray-history: warning: {line}", file=sys.stderr)
    named = arguments[:1] if arguments and arguments[0] in _COMMANDS else list(_COMMANDS)
    try:
        result = command_line(named)(arguments, prog_name="ray-history", standalone_mode=False)
    except typer.TyperException as exc:
        hint = " (--help tells how)" if exc.exit_code == 2 else ""
        return failed(exc.format_message() + hint, exc.exit_code)
    except (HistoryError, Failed) as exc:
        return failed(str(exc))
    except BrokenPipeError:
        # Whoever read our output has gone: there is nobody to tell. Python would complain at exit.
        sys.stdout = None
        return 1
    except Exception as exc:  # noqa: BLE001 - the outermost boundary: one line, not a traceback
        if os.environ.get("RAY_HISTORY_LOG_LEVEL") == "debug":
            traceback.print_exc()
        return failed(f"unexpected {type(exc).__name__}: {exc}")
    return result if isinstance(result, int) else 0
