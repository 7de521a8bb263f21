"""Logs: one JSON object per line on standard output, with the members that users of the original know.

Only named members are logged, and none of them is a request or response body, a header, a key or a credential.
"""

import logging
import os
from collections.abc import MutableMapping
from typing import IO, Any, Final

import msgspec
import structlog

LEVELS: Final = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 10,
}

_encoder: Final = msgspec.json.Encoder(enc_hook=str)


def log_level(text: str) -> int:
    """Read a level as ``RUST_LOG`` writes it: ``info``, or ``info,some::module=debug``, whose bare level counts."""
    for part in text.lower().split(","):
        if "=" not in part and part.strip() in LEVELS:
            return LEVELS[part.strip()]
    raise ValueError(f"a log level: one of {', '.join(LEVELS)}")


_least = logging.INFO
"""What is written; changed by :func:`set_log_level` while the daemon runs."""


def set_log_level(level: int) -> None:
    """Write from this level on, from now on."""
    global _least  # noqa: PLW0603 - a process has one log
    _least = level


def tells_all() -> bool:
    """Whether the least of lines is written, for those who would rather not prepare it in vain."""
    return _least <= logging.DEBUG


def _drop_lesser(_logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if LEVELS.get(method, logging.CRITICAL) < _least:
        raise structlog.DropEvent
    return event


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    line = {
        "service": event.pop("service"),
        "level": event.pop("level").upper(),
        "timestamp": event.pop("timestamp"),
        "message": event.pop("event"),
        **{name: value for name, value in event.items() if value is not None},
    }
    return _encoder.encode(line)


class _Lines:
    """Writes one line at a time and survives a closed or full standard output: logging never fails a request.

    Nothing is buffered: what could not be written would be tried again at exit, and fail the exit too.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._torn = False

    def msg(self, line: bytes) -> None:
        left = memoryview(b"\n" + line + b"\n" if self._torn else line + b"\n")
        try:
            while left:
                left = left[self._stream.write(left) :]
        except (OSError, ValueError):
            pass
        self._torn = bool(left)

    info = warning = error = debug = critical = msg


def _standard_output() -> IO[bytes]:
    try:
        return open(1, "wb", buffering=0, closefd=False)
    except OSError:  # it was closed before we started
        return open(os.devnull, "wb", buffering=0)  # noqa: PTH123


def configure_logs(
    service: str, level: int, stream: IO[bytes] | None = None, **members: object
) -> structlog.typing.FilteringBoundLogger:
    """Set logging up for this process and return the daemon's logger; libraries log through it from warnings on.

    ``members`` stand in every line.
    """
    set_log_level(level)
    lines = _Lines(stream if stream is not None else _standard_output())
    # A logger of its own, not structlog's global one: several daemons may share a process, as in development mode.
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        lines,
        processors=[
            _drop_lesser,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    ).bind(service=service, **members)

    class Forward(logging.Handler):
        """Hands the libraries' own log records on, without their arguments: those may hold what we do not log."""

        def emit(self, record: logging.LogRecord) -> None:
            kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
            # A first line is a fixed text; asyncio writes what it was about, with all it held, into the next ones.
            template = str(record.msg).partition("\n")[0]
            logger.warning("a library logged", name=record.name, template=template, error=kind)

    logging.basicConfig(handlers=[Forward(logging.WARNING)], level=max(level, logging.WARNING), force=True)
    return logger
