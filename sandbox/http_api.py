"""Serves routes over HTTP: reading bodies, faults, the token, rate limits, answers, recording.

It knows no route's meaning and nothing of the world.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, hdrs, web

from sandbox.calls import Call, Route
from sandbox.errors import DiscordError, Refusal
from sandbox.faults import Answer, Faults, Scope
from sandbox.limits import RateLimiter
from sandbox.rules import Upload

BASE = "/api/v10"
RECORDED_EXCHANGES = 10_000

VIA = {"Via": "1.1 google"}
"""Clients take a 429 without this header for a ban by Discord's front."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was made and what was answered; `route` is written as in the documents."""

    method: str
    route: str
    query: Mapping[str, str]
    request: Any
    """The JSON of the body; for multipart that of its `payload_json`."""
    status: int
    """What the bot was answered; 0 where the connection was cut instead."""
    response: Any
    at_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """An answer on its way out."""

    status: int
    body: Any
    headers: Mapping[str, str]
    cut: bool = False


class HttpApi:
    """The door of the REST routes."""

    def __init__(
        self, routes: list[Route], *, token: str, faults: Faults, limiter: RateLimiter
    ) -> None:
        self._routes = routes
        self._authorization = f"Bot {token}"
        self._faults = faults
        self._limiter = limiter
        self.exchanges: deque[Exchange] = deque(maxlen=RECORDED_EXCHANGES)

    def add_to(self, app: web.Application) -> None:
        """Serve all routes under `/api/v10`, and 404 beside them."""
        for route in self._routes:
            app.router.add_route(route.method, BASE + route.path, self._door(route))
        app.router.add_route(
            "*", "/api/{path:.*}", self._door(Route("*", "/{unknown}", _unknown, open=True))
        )

    def _door(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            result, body = await self._answer(route, request)
            self._record(route, request, body, result)
            if result.cut and request.transport is not None:
                request.transport.abort()
            return _response(result)

        return serve

    async def _answer(self, route: Route, request: web.Request) -> tuple[Result, Any]:
        plan = self._faults.take(request.method, route.path)
        body, files = await _read(request)
        await asyncio.sleep(plan.delay_s)
        if plan.gate is not None:
            await plan.gate.wait()
        if plan.cut_before:
            return Result(0, None, {}, cut=True), body
        if plan.refuse is not None:
            return _fault(plan.refuse), body
        params = request.match_info
        call = Call(request.method, route.path, params, request.query, body, files)
        result = self._work(route, call, request.headers.get(hdrs.AUTHORIZATION))
        if plan.gate_after is not None:
            await plan.gate_after.wait()
        if plan.instead is not None:
            result = _fault(plan.instead)
        if plan.cut:
            result = Result(0, None, {}, cut=True)
        return result, body

    def _work(self, route: Route, call: Call, authorization: str | None) -> Result:
        if not route.open and authorization != self._authorization:
            error = DiscordError(Refusal.UNAUTHORIZED)
            return Result(error.status, error.body, VIA)
        verdict = self._limiter.ask(call.method, route.path, call.params)
        headers = {**VIA, **verdict.headers}
        if verdict.retry_after_s:
            limited = Answer(429, retry_after_s=round(verdict.retry_after_s, 3), scope=Scope.USER)
            return Result(429, limited.body, headers | limited.headers)
        try:
            answer = route.handler(call)
        except DiscordError as error:
            return Result(error.status, error.body, headers)
        return Result(204 if answer is None else 200, answer, headers)

    def _record(self, route: Route, request: web.Request, body: Any, result: Result) -> None:
        self.exchanges.append(
            Exchange(
                method=request.method,
                route=route.path,
                query=dict(request.query),
                request=body,
                status=result.status,
                response=result.body,
                at_s=self._limiter.clock(),
            )
        )


def _unknown(_: Call) -> None:
    raise DiscordError(Refusal.NOT_FOUND)


def _fault(answer: Answer) -> Result:
    via = VIA if answer.via else {}
    return Result(answer.status, answer.body, {**via, **answer.headers})


def _response(result: Result) -> web.Response:
    if result.body is None:
        return web.Response(status=result.status or 204, headers=result.headers)
    # Clients compare the type with exactly this: a charset behind it makes them read text.
    headers = {**result.headers, hdrs.CONTENT_TYPE: "application/json"}
    body = json.dumps(result.body).encode()
    return web.Response(status=result.status, body=body, headers=headers)


async def _read(request: web.Request) -> tuple[Any, dict[int, Upload]]:
    """Read a JSON body, or a multipart one: its `payload_json` and its `files[n]`."""
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        return _load(raw) if raw else None, {}
    body: Any = None
    files: dict[int, Upload] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        data = bytes(await part.read())
        name = part.name or ""
        if name == "payload_json":
            body = _load(data)
        elif name.startswith("files["):
            kind = part.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
            number = int(name.removeprefix("files[").removesuffix("]"))
            files[number] = Upload(part.filename or "unknown", kind, data)
    return body, files


def _load(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        # A handler that needs a body answers this with Discord's refusal.
        return raw.decode(errors="replace")
