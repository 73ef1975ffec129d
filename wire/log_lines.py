"""How both programs log: lines of words, or of JSON for machines. Knows nothing of what is said."""

import datetime
import json
import logging
import sys
from collections.abc import Mapping
from typing import Literal

LogFormat = Literal["text", "json"]
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
NOTHING = "-"
"""Stands for a fact that is not known."""

Facts = Mapping[str, str | int | None]


def log_facts(log: logging.Logger, facts: Facts) -> None:
    """Log facts as one line, `name=value name=value …`; as JSON each is a field of its own.

    Args:
        log: Where to.
        facts: In the order of the line. Texts hold no blanks.
    """
    pairs = (f"{name}={NOTHING if value is None else value}" for name, value in facts.items())
    log.info("%s", " ".join(pairs), extra={"facts": dict(facts)}, stacklevel=2)


def set_up_logging(level: str, log_format: LogFormat) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    words = logging.Formatter(TEXT_FORMAT)
    handler.setFormatter(JsonFormatter() if log_format == "json" else words)
    logging.basicConfig(level=level, handlers=[handler])


class JsonFormatter(logging.Formatter):
    """Write a record as one line of JSON: time, level, logger, message, and facts where it has any.

    The time is UTC, by ISO 8601.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
