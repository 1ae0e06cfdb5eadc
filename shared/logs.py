"""Our own logs: JSON lines, or human ones on a terminal. Context (request id, task id, session, generation) is bound by who knows it."""

from __future__ import annotations

import io
import json
import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import Processor

from shared.settings import LogSettings


def set_up_logs(settings: LogSettings) -> None:
    """Send structlog's and the standard library's records to stderr in one format.

    Ours, one per request, do not pass through the standard library: it would take longer than many an answer.
    """
    human = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    context, clock = structlog.contextvars.merge_contextvars, structlog.processors.TimeStamper(fmt="iso", utc=True)
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )
    level = logging.getLevelName(settings.log_level.upper())
    structlog.configure(
        processors=[context, structlog.processors.add_log_level, clock, *last],
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr(sys.stderr))),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    foreign: list[Processor] = [
        context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        clock,
        structlog.stdlib.ExtraAdder(),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=foreign, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    if root.level != level:
        root.setLevel(level)
    for noisy in ("botocore", "boto3", "urllib3", "httpx", "httpcore", "kubernetes", "s3transfer"):
        logger = logging.getLogger(noisy)
        # Each change goes through all loggers, which would copy them in a forked process.
        if logger.level != (wanted := max(logging.WARNING, root.level)):
            logger.setLevel(wanted)


class _Stderr(io.TextIOBase):
    """A record that cannot be written (it may go to the disk that is full) is lost; whoever wanted to log it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _json(record: Any, **_: Any) -> str:
    try:
        return msgspec.json.encode(record, enc_hook=repr).decode()
    except UnicodeEncodeError:
        # A file's name need not be UTF-8; to be told of it must not end a load.
        return json.dumps(record, default=repr)
