"""The comparison by hand, against any running server:

python -m tests.conformance URL LIVE_DIR NAMESPACE/KIND/NAME/SESSION [--scope cookie|path] [--all]

LIVE_DIR holds the `index.json` of one recorded session. Ends with 1 if a tag is below 99 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared.sessions import SessionRef
from tests.conformance.recording import Recording
from tests.conformance.replay import Server, explained, replay
from tests.conformance.test_answers import TAG_FLOOR


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("url")
    parser.add_argument("live", type=Path)
    parser.add_argument("ref", type=SessionRef.parse)
    parser.add_argument("--scope", choices=["cookie", "path"], default="cookie")
    parser.add_argument("--all", action="store_true", help="explain every difference, also of tags above the floor")
    given = parser.parse_args()
    with Server(given.url, given.ref, given.scope) as server:
        score = replay(server, Recording(given.live))
    for name, tag in sorted(score.tags.items()):
        lines = explained(name, tag) if tag.percent < (100 if given.all else TAG_FLOOR) else [f"{name}: {tag.percent:.2f} %"]
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(f"over all leaves: {score.percent:.3f} %; answers wholly right: {score.right:.1f} %\n")
    return 1 if score.below(TAG_FLOOR) else 0


if __name__ == "__main__":
    sys.exit(main())
