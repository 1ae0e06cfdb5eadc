"""Variables of our prefix that mean nothing: most likely misspelt, and so without the effect that somebody expects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from cli.configuration import PREFIX, known_variables

# What Kubernetes gives every pod for a service that is called like us.
_OF_A_SERVICE = re.compile(r".*_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)")
# Read by the commands that ask a server.
_OTHERS = ("RAY_HISTORY_SERVER", "RAY_HISTORY_TOKEN")


def warnings(names: Iterable[str]) -> list[str]:
    """One line for each name of an environment that no setting has."""
    known = {*known_variables(), *_OTHERS}
    found = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known and not _OF_A_SERVICE.fullmatch(name):
            similar = get_close_matches(name, known, n=1)
            found.append(f"{name} is no setting and has no effect" + (f": did you mean {similar[0]}?" if similar else ""))
    return found
