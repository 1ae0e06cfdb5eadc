"""What a long error message comes down to, and what is the same in the messages of many failures."""

from __future__ import annotations

import re

_LONGEST = 300
# The last line of a traceback, as Python writes it.
_RAISED = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Timeout|Failure|Warning)\b.*$", re.MULTILINE)
# How Ray begins the message of a task whose own code failed: what was raised comes last.
_OF_USER_CODE = ("User exception:", "Traceback ")
# Ids, addresses and numbers, which differ between failures of one kind.
_VARYING = re.compile(r"\b(?:0x)?[0-9a-f]{8,}\b|\d+(?:\.\d+)*")


def last_raised(message: str) -> str:
    """The last line that names an exception; "" for none."""
    # Most often it is the last line: no need to look at all of a long traceback.
    last = message.rstrip().rpartition("\n")[2]
    if _RAISED.match(last):
        return last
    raised = _RAISED.findall(message)
    return raised[-1] if raised else ""


def headline(message: str) -> str:
    """One line: the exception that was raised, else the line that says most."""
    text = message.strip()
    if "\n" not in text:
        return text[:_LONGEST]
    lines = text.splitlines()
    return (last_raised(text) or lines[-1 if text.startswith(_OF_USER_CODE) else 0].strip())[:_LONGEST]


def common_part(line: str) -> str:
    """The line with `#` for ids, addresses and numbers."""
    return _VARYING.sub("#", line)
