"""
Log lines: one JSON object each, redacted, with times in UTC.

Our own lines go through structlog to standard output; what libraries say through :mod:`logging` goes to standard
error, in the same form and through the same redaction.  On a terminal both are rendered for people.

The set-up is that of structlog's performance page: levels filtered before anything is done, orjson, bytes, loggers
cached on first use.
"""

from __future__ import annotations

import datetime as dt
import json as stdlib_json
import logging
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from otp_service.core.errors import ConfigurationError
from otp_service.telemetry.redaction import redact

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, json: bool, level: str, stream: BinaryIO | None = None, cache: bool = True) -> None:
    """
    Set up structlog and :mod:`logging`, once per process; a second call replaces the first.

    Args:
        json: one JSON object per line; otherwise text for a terminal.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: takes everything, ours and the libraries'; otherwise standard output and standard error.
        cache: keep each logger as it is on first use.  Tests say no, so that they can configure again.

    Raises:
        ConfigurationError: no such level.
    """
    threshold = _LEVELS.get(level.lower())
    if threshold is None:
        raise ConfigurationError(f"log level {level!r} is unknown: write one of {', '.join(_LEVELS)}")
    # format_exc_info is the plain renderer: the rich and the structured ones print the locals of every frame.
    shared: list[Processor] = [
        merge_contextvars,
        structlog.processors.add_log_level,
        _add_timestamp,
        structlog.processors.format_exc_info,
    ]
    renderer = _render_json if json else _ConsoleText(colors=stream is None and sys.stdout.isatty())
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=cache,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer, _decode],
    )
    _route_stdlib(_Lines(stream or sys.stderr.buffer, formatter, threshold))


def reset() -> None:
    """Undo :func:`configure`: structlog's defaults, no handler of ours, libraries as they were."""
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Lines)]:
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.NOTSET)
    logging.getLogger("aiohttp.server").removeFilter(_demote_malformed_requests)


def get_logger(**bound: Any) -> FilteringBoundLogger:
    """Give a logger that adds ``bound`` to each of its lines; it may be made before :func:`configure` is called."""
    return cast("FilteringBoundLogger", structlog.get_logger(**bound))


def where(error: BaseException) -> str:
    """Return file and line of what raised, for a log that must not have its text: that may hold anybody's data."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


_canonical = get_logger()


def canonical(event: str, **fields: Any) -> None:
    """
    Write the one line of a request (``event="request"``) or a job (``event="job"``).

    Everything worth knowing of it stands in this line, so that one search finds it; what was bound to the context
    (``request_id``) is merged in.  Fields that are None are left out, floats are rounded to three decimals.  A
    ``status`` of 500 and above makes the line an error.

    Fields of a request: ``request_id``, ``method``, ``route`` (the template, never the path), ``status``,
    ``code`` (of the problem document), ``client``, ``purpose``, ``verification_id``, ``limit``, ``duration_ms``.
    Fields of a job: ``queue``, ``verification_id``, ``send_number``, ``gateway`` or ``source``, ``outcome``,
    ``attempt``, ``age_ms``, ``duration_ms``.
    """
    line = {
        key: round(value, 3) if type(value) is float else value
        for key, value in fields.items() if value is not None
    }
    status = fields.get("status")
    if isinstance(status, int) and status >= 500:
        _canonical.error(event, **line)
    else:
        _canonical.info(event, **line)


class _Lines(logging.Handler):
    """Writes what libraries log, one line per record, to a binary stream."""

    def __init__(self, stream: BinaryIO, formatter: logging.Formatter, level: int) -> None:
        super().__init__(level)
        self.setFormatter(formatter)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            self._stream.write(self.format(record).encode() + b"\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - logging must not break what it reports on; the loss is reported instead
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say that a record was lost, and where; the standard way prints its arguments, unredacted."""
        _canonical.error("log record lost", logger=record.name, module=record.module, line=record.lineno)


class _ConsoleText:
    """Renders a line for a terminal; control characters in values are escaped."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, repr_native_str=True, exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, logger: WrappedLogger, name: str, event_dict: EventDict) -> bytes:
        return self._render(logger, name, event_dict).encode("utf-8", "backslashreplace")


def _route_stdlib(handler: _Lines) -> None:
    """
    Make ``handler`` the only way out for libraries.

    ``aiohttp.access`` is off: the canonical line says the same, and the access log halves the throughput.
    """
    root = logging.getLogger()
    root.handlers[:] = [handler]  # any other would write unredacted
    root.setLevel(handler.level)
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL + 1)
    logging.getLogger("aiohttp.server").addFilter(_demote_malformed_requests)


def _demote_malformed_requests(record: logging.LogRecord) -> bool:
    """
    Turn aiohttp's traceback for bytes that are not HTTP into a debug line.

    Anyone who reaches the port can send such bytes, as fast as the line carries them: a traceback costs about
    300 µs and 2 kB each, quotes what was sent, and buries the errors that are ours.  Those, on the same logger,
    pass as they are.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.msg, record.args = "malformed request: %s", (type(error).__name__,)
        record.exc_info = None
    return True


def _add_timestamp(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    """Add the time in UTC, in milliseconds: six decimals would look like a code to whoever scans logs for codes."""
    event_dict["timestamp"] = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    return event_dict


def _render_json(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> bytes:
    """Render a redacted event as one JSON object on one line."""
    try:
        return orjson.dumps(event_dict)
    except orjson.JSONEncodeError:  # lone surrogates from a caller's JSON, integers above 64 bits
        return stdlib_json.dumps(event_dict).encode()


def _decode(_logger: WrappedLogger, _name: str, line: Any) -> str:
    """Give :mod:`logging` the text that it insists on."""
    return cast("bytes", line).decode()
