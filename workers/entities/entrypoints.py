r"""A submitted job's entrypoint, from the first lines of its driver's log: it may be of several lines, and of any length.

    Running entrypoint for job {submission id}: {entrypoint}
    {what it printed}

Nothing marks its end. It is a shell command: a line ends it unless a quote, a here-document or a `\` is open; and it goes on up to the
line that calls what the driver, as it says itself, was called with.
"""

from __future__ import annotations

import re
from itertools import accumulate

# What the kernel takes as one argument of `sh -c`.
LONGEST = 128 << 10
_STEP = re.compile(r"""\\.|'|"|(?<!<)<<-?[ \t]*(['"]?)(\w+)\1|(?<=\s)\#[^\n]*|\n""", re.DOTALL)
_PRINTED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\t|\[|\x1b|Traceback ")
_LINES_BEFORE_CALL = 200


def entrypoint(log: str, submission_id: str, called: str = "") -> str | None:
    """`log` begins at the start of the file, `called` is the driver's own command line. None if the log does not say, or was cut."""
    _, told, text = log.partition(f"Running entrypoint for job {submission_id}: ")
    end = _end_of_command(text) if told else None
    if end is None:
        # A quote that nothing closes: an apostrophe in what a shell would not take either.
        return None if not told or len(log) < LONGEST or "\n" not in text else text[: text.index("\n")]
    arguments = _unquoted(called.partition(" ")[2])
    if arguments and arguments not in _unquoted(text[:end]):
        end = _call_below(text, end, arguments) or end
    return text[:end]


def _call_below(text: str, end: int, arguments: str) -> int | None:
    """Where the command ends that is called with these arguments, if it comes before anything that was printed."""
    lines = text[end + 1 :].split("\n", _LINES_BEFORE_CALL)[:_LINES_BEFORE_CALL]
    for line, length in zip(lines, accumulate(len(line) + 1 for line in lines), strict=True):
        if _PRINTED.match(line):
            return None
        if arguments in _unquoted(line):
            return end + length
    return None


def _unquoted(text: str) -> str:
    return text.replace("'", "").replace('"', "")


def _end_of_command(text: str) -> int | None:
    """The newline that ends the shell command at the start of `text`; None if it is not in it."""
    quote, documents, at = "", list[str](), 0
    while (step := _STEP.search(text, at)) is not None:
        at, found = step.end(), step[0]
        if quote:
            # In single quotes a backslash is one.
            if found == quote:
                quote = ""
            elif (quote == "'" and found.startswith("\\")) or found[0] not in "\\'\"\n":
                at = step.start() + 1
        elif found in ("'", '"'):
            quote = found
        elif found == "\n":
            if not documents:
                return step.start()
            closed = re.compile(rf"^\t*{re.escape(documents.pop(0))}$", re.MULTILINE).search(text, at)
            if closed is None:
                return None
            at = closed.end()
        elif step[2]:
            documents.append(step[2])
    return None
