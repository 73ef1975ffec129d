"""Owns how a refusal looks over HTTP: OpenAI's shape, and a status for each kind of error.

What is raised anywhere behind the door becomes an `ApiError` here. `docs/http.md` has the table.
"""

import errno
import logging
import traceback
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from pydantic import ValidationError

from engine.errors import (
    EngineError,
    EngineStoppedError,
    MemoryShortError,
    NoKeyError,
    PromptTooLongError,
    UnknownModelError,
)
from wire.jobs import ErrorCode, Failed, explain

log = logging.getLogger(__name__)

INVALID = "invalid_request_error"
"""OpenAI's type of everything that the caller can mend."""
SERVER = "server_error"
RETRY_AFTER_S = 1
"""How long a caller who is refused for want of room is asked to wait."""

STATUS_OF_CODE = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.PROMPT_TOO_LONG: 400,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.DEADLINE: 503,
    ErrorCode.ENGINE_LOST: 503,
    ErrorCode.INTERNAL: 500,
    ErrorCode.NO_ENGINE: 503,
}
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
"""What OpenAI's clients look for where a prompt is too long."""


class ApiError(Exception):
    """A refusal, as the caller sees it.

    Args:
        status: of the answer.
        message: whole sentences.
        code: for programs.
        param: the field that is at fault.
        headers: that the answer bears besides.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """Return the answer's JSON."""
        kind = SERVER if self.status >= 500 else INVALID
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> web.Response:
        """Return the whole answer."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


def translate(error: Exception) -> ApiError:
    """Return what the caller hears of an error; one that nobody foresaw is logged as well."""
    match error:
        case ApiError():
            return error
        case EngineError():
            return from_engine(error)
        case web.HTTPException():
            return from_aiohttp(error)
        case web.RequestPayloadError() | HttpProcessingError():
            return damaged_body()
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return ApiError(507, "The server's disk is full.", code="disk_full")
        case _:
            return _unforeseen(error)


def _unforeseen(error: Exception) -> ApiError:
    # Without its text, which may quote what a person wrote.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("a request failed with %s:\n%s", type(error).__name__, frames)
    return ApiError(500, "Something went wrong in the server.", code="internal_error")


def overloaded(message: str) -> ApiError:
    """Return the refusal of a caller for whom there is no room just now."""
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return ApiError(429, message, code="rate_limit_exceeded", headers=headers)


def damaged_body() -> ApiError:
    """Return the refusal of a body that ends too early, or is not what its headers say."""
    return ApiError(400, "The body cannot be read: it is cut off or damaged.", code="damaged_body")


def stopping() -> ApiError:
    """Return what callers hear while the server shuts down."""
    return ApiError(503, "The server is shutting down.", code="shutting_down")


def from_validation(error: ValidationError) -> ApiError:
    """Name the first bad field, its bound and the value."""
    place = error.errors(include_url=False, include_input=False)[0]["loc"]
    return ApiError(400, explain(error), param=str(place[0]) if place else None)


def from_failed(failed: Failed) -> ApiError:
    """Translate an engine's last word."""
    status = STATUS_OF_CODE[failed.code]
    if status == 429:
        return overloaded(failed.message)
    return ApiError(status, failed.message, code=failed.code)


def from_engine(error: EngineError) -> ApiError:
    """Translate what engine and pool raise."""
    match error:
        case UnknownModelError():
            return ApiError(404, str(error), code="model_not_found", param="model")
        case PromptTooLongError():
            return ApiError(400, str(error), code=CONTEXT_LENGTH_EXCEEDED, param="prompt")
        case NoKeyError():
            return ApiError(503, str(error), code="no_watermark_key")
        case EngineStoppedError():
            return ApiError(503, str(error), code="engine_stopped")
        case EngineError(code=ErrorCode.INTERNAL) | MemoryShortError():
            # A model that is damaged or too large for this machine, now.
            return ApiError(503, str(error), code="model_unavailable", param="model")
        case _:
            return from_failed(Failed(code=error.code, message=str(error)))


def from_aiohttp(error: web.HTTPException) -> ApiError:
    """Translate what aiohttp itself refuses: unknown routes, methods, bodies that are too large."""
    match error:
        case web.HTTPNotFound():
            return ApiError(404, "There is no such route.", code="unknown_url")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return ApiError(
                405,
                f"The method {error.method} is not allowed here, only {allowed}.",
                headers={"Allow": allowed},
            )
        case web.HTTPRequestEntityTooLarge():
            return ApiError(413, f"The body is too large: {error.text}.", code="body_too_large")
        case _:
            return ApiError(error.status, f"{error.reason}.")
