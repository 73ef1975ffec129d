"""Owns what all routes share: the pool, the options, the places, and how a JSON body is read."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from engine.http_api.errors import ApiError, from_validation, overloaded
from engine.http_api.files import FileStore
from engine.http_api.fine_tuning import FineTuning
from engine.http_api.options import HttpOptions
from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from engine.verifier import Verifier

Body = TypeVar("Body", bound=BaseModel)
Some = TypeVar("Some")


class Places:
    """The samples that may be in flight at once."""

    def __init__(self, num_places: int) -> None:
        self.num_places = num_places
        self.num_taken = 0

    @contextlib.contextmanager
    def take(self, num_samples: int) -> Iterator[None]:
        """Hold places for a request's samples.

        Raises:
            ApiError: there are not so many places at all (400), or not free (429).
        """
        if num_samples > self.num_places:
            msg = (
                f"The request asks for {num_samples} samples (prompts times n), "
                f"but at most {self.num_places} are written at once."
            )
            raise ApiError(400, msg, param="n")
        if self.num_taken + num_samples > self.num_places:
            msg = (
                f"Too many requests: {self.num_taken} of {self.num_places} samples are being "
                f"written, and {num_samples} more do not fit. Try again soon."
            )
            raise overloaded(msg)
        self.num_taken += num_samples
        try:
            yield
        finally:
            self.num_taken -= num_samples


class Traffic:
    """Counts the requests that are being answered, and tells when there is none."""

    def __init__(self) -> None:
        self._num_requests = 0
        self.is_none = asyncio.Event()
        self.is_none.set()

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a request while it is answered."""
        self._num_requests += 1
        self.is_none.clear()
        try:
            yield
        finally:
            self._num_requests -= 1
            if self._num_requests == 0:
                self.is_none.set()


@dataclass(eq=False, slots=True)
class Door:
    """What the routes work with.

    Attributes:
        closing: set when replies that still run are to be cut off.
        is_draining: set by the server when it takes no new request.
        traffic: the requests that are being answered.
    """

    pool: ModelPool
    options: HttpOptions
    places: Places
    files: FileStore
    fine_tuning: FineTuning
    verifier: Verifier
    metrics: EngineMetrics
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    is_draining: bool = False
    traffic: Traffic = field(default_factory=Traffic)


door_key = web.AppKey("door", Door)


async def read_body(request: web.Request, kind: type[Body]) -> Body:
    """Return a request's JSON body, checked.

    Raises:
        ApiError: it is not declared as JSON (415), is none, or does not fit (400), or does not
            come (408).
        HTTPRequestEntityTooLarge: it is larger than the bound.
    """
    if request.content_type != "application/json":
        # Told apart by media type, so that a page of another origin can't send it without asking.
        msg = f"The body must be application/json, not {request.content_type}."
        raise ApiError(415, msg, code="unsupported_media_type")
    body = await in_time(request, request.read())
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None


async def in_time(request: web.Request, reading: Awaitable[Some]) -> Some:
    """Wait for a part of a request's body, but not for ever.

    Raises:
        ApiError: it did not come within the stall time (408).
    """
    stall_s = request.app[door_key].options.stall_s
    try:
        async with asyncio.timeout(stall_s):
            return await reading
    except TimeoutError:
        msg = f"The rest of the body did not come within {stall_s:g} s."
        raise ApiError(408, msg, code="body_timeout") from None
