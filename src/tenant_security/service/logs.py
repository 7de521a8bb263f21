"""Logs: one JSON object per line on standard output, with the members that users of the original know.

Only named members are logged, and none of them is a request or response body, a header, a key or a credential.
"""

import logging
import sys
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
    """Writes one line at a time and survives a closed or full standard output: logging never fails a request."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def msg(self, line: bytes) -> None:
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    info = warning = error = debug = critical = msg


def configure_logs(service: str, level: int, stream: IO[bytes] | None = None) -> structlog.typing.FilteringBoundLogger:
    """Set logging up for this process and return the daemon's logger; libraries log through it from warnings on."""
    lines = _Lines(stream if stream is not None else sys.stdout.buffer)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(level, logging.CRITICAL)),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(service=service)

    class Forward(logging.Handler):
        """Hands the libraries' own log records on, without their arguments: those may hold what we do not log."""

        def emit(self, record: logging.LogRecord) -> None:
            kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
            logger.warning("a library logged", name=record.name, template=str(record.msg), error=kind)

    logging.basicConfig(handlers=[Forward(logging.WARNING)], level=max(level, logging.WARNING), force=True)
    return logger
