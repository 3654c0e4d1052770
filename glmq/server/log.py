"""What the log tells. Of what was asked and answered it holds nothing unless that is wanted.

The message of an error may quote a request, so of faults only the kind and the place are told.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

LogFormat = Literal["text", "json"]
log = logging.getLogger("glmq.server")


def log_request(message: str, figures: Mapping[str, Any]) -> None:
    """Tell of a request: in words with its figures, or as an object that holds them."""
    if log.isEnabledFor(logging.INFO):
        log.info(message, figures, extra={"figures": figures})


def log_fault(what: str, error: BaseException, *, whole: bool) -> None:
    """Tell of an error in the program. whole: with what its message says."""
    log.error("%s\n%s", what, fault_text(error, whole=whole))


def fault_text(error: BaseException, *, whole: bool) -> str:
    """Where an error came from, and of which it is a consequence; with their messages if `whole`."""
    if whole:
        return "".join(traceback.format_exception(error)).rstrip()
    told: list[str] = []
    chain: BaseException | None = error
    while chain is not None and len(told) < 10:
        lines = "".join(traceback.format_tb(chain.__traceback__))
        told.append(f"{lines}{type(chain).__module__}.{type(chain).__qualname__}")
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "\nwhich came of\n".join(told)


class _Lines(logging.Formatter):
    """A line for each record, and lines for errors."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._whole = whole

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The error that a record is about."""
        return "" if ei[1] is None else fault_text(ei[1], whole=self._whole)


class _Objects(_Lines):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "figures", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def log_to_stderr(form: LogFormat, *, quiet: bool, log_prompts: bool) -> None:
    """Tell of requests and faults on standard error, or, where it is to be quiet, of faults alone."""
    handler = logging.StreamHandler()
    handler.setFormatter((_Objects if form == "json" else _Lines)(whole=log_prompts))
    logging.basicConfig(handlers=[handler])
    log.setLevel(logging.WARNING if quiet and not log_prompts else logging.INFO)
