"""The bar above the dashboard of a recorded session, put into a page when it is served; the page's file on disk stays as it is.

Together with it go a style sheet and two scripts of ours: `static/dashboard.js` stops the page's clock, `static/dashboard-marks.js` says
on Ray's pages what is different for a session that has ended.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import escape

from api.pages.session_facts import SessionFacts, counted

_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)
_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)
_SHOWN_LOSSES = 50
_KINDS = {"raycluster": "RayCluster", "rayjob": "RayJob", "rayservice": "RayService"}


def with_bar(page: str, facts: SessionFacts, root: str, grafana_url: str) -> str:
    """`root` leads from the page to the server's own root, such as `../../`."""
    told = json.dumps(
        {
            "title": f"{facts.cluster} {_short(facts)}",
            "start": facts.end.start_ms if facts.end else None,
            "now": facts.end.end_ms if facts.end else None,
            "grafana": grafana_url,
        }
    )
    head = (
        f'<meta name="ray-history-session" content="{escape(told)}">'
        f'<link rel="stylesheet" href="{root}pages/dashboard.css"><script src="{root}pages/dashboard.js"></script>'
        f'<script type="module" src="{root}pages/dashboard-marks.js"></script>'
    )
    # A function, as a replacement text would have its backslashes read.
    page = _HEAD.sub(lambda found: found[0] + head, page, count=1)
    return _BODY.sub(lambda found: found[0] + _bar(facts, root), page, count=1)


def _bar(facts: SessionFacts, root: str) -> str:
    parts = [
        f'<a href="{root}select_cluster">All sessions</a>',
        f"<strong>{escape(facts.cluster)}</strong>",
        f"<span>{escape(_whose(facts))}</span>",
        f"<span>{escape(facts.ref.session)}</span>",
        f"<span>{escape(_when(facts))}</span>",
        f"<span>{escape(facts.how_ended)}</span>",
        f"<span>{escape(_running(facts))}</span>" if facts.running else "",
        _completeness(facts),
        '<button type="button" id="ray-history-reload">Load again</button>',
        '<a href="../overview">Overview</a>',
        '<span id="ray-history-note" role="note" hidden></span>',
    ]
    return f'<section id="ray-history-bar" aria-label="Recorded session">{"".join(parts)}</section>'


def _whose(facts: SessionFacts) -> str:
    owner = "" if facts.ref.name == facts.cluster else f" {facts.ref.name}"
    return f"{_KINDS[facts.ref.kind]}{owner} in {facts.ref.namespace}"


def _when(facts: SessionFacts) -> str:
    if facts.end is None:
        return "ended"
    start, end = _moment(facts.end.start_ms), _moment(facts.end.end_ms)
    until = f"{end:%H:%M:%S}" if end.date() == start.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    lasted = timedelta(seconds=round((end - start).total_seconds()))
    return f"{start:%Y-%m-%d %H:%M:%S} to {until} UTC ({lasted})"


def _running(facts: SessionFacts) -> str:
    return "still running then: " + ", ".join(counted(count, what) for what, count in facts.running.items())


def _completeness(facts: SessionFacts) -> str:
    if not facts.loss_count:
        return "<span>complete</span>"
    shown = "".join(f"<li><code>{escape(file)}</code>: {escape(message)}</li>" for file, message in facts.losses[:_SHOWN_LOSSES])
    more = facts.loss_count - min(len(facts.losses), _SHOWN_LOSSES)
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    return (
        f'<details class="partial"><summary>partial: {counted(facts.loss_count, "file")} missing</summary><ul>{shown}{rest}</ul></details>'
    )


def _short(facts: SessionFacts) -> str:
    """When it began, for the title of a tab."""
    return f"{_moment(facts.end.start_ms):%Y-%m-%d %H:%M}" if facts.end else facts.ref.session


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
