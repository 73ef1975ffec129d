"""Owns `/v1/completions`: one request in, its choices out, whole or as they are written."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.async_engine import AsyncEngine
from engine.http_api.bodies import CompletionRequest
from engine.http_api.choices import Choice, Piece, make_choices, write_choice
from engine.http_api.door import Door, door_key, read_body
from engine.http_api.errors import translate
from engine.http_api.summaries import Summary, summary_key
from engine.label import header_label, header_value, label

MACHINE_HEADER = "X-Machine-Generated"
"""For programs: what wrote the text."""
LABEL_HEADER = "X-Ovid-Label"
"""For people: the label, in ASCII."""


@dataclass(eq=False, slots=True)
class _Reply:
    """What all chunks of an answer have in common, and what it took."""

    model_name: str
    summary: Summary
    reply_id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def writer(self) -> str:
        return f"GPT-2 {self.model_name}"

    @property
    def headers(self) -> dict[str, str]:
        return {
            MACHINE_HEADER: header_value(self.writer),
            LABEL_HEADER: header_label(self.model_name),
        }

    def json(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self.reply_id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model_name,
            "system_fingerprint": f"ovid-{self.model_name}",
            "machine_generated": self.writer,
            "label": label(self.model_name),
            "choices": choices,
            **more,
        }

    @property
    def usage(self) -> dict[str, int]:
        prompt_tokens = self.summary.prompt_tokens
        completion_tokens = self.summary.completion_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Answer `POST /v1/completions`."""
    door = request.app[door_key]
    request[summary_key] = Summary()
    wanted = await read_body(request, CompletionRequest)
    with door.places.take(len(wanted.prompt) * wanted.n):
        async with door.pool.use(wanted.model) as engine:
            choices = await asyncio.to_thread(make_choices, engine, wanted)
            reply = _Reply(engine.model_name, request[summary_key])
            if wanted.stream:
                return await _streamed(request, wanted, engine, choices, reply)
            return await _whole(door, engine, choices, reply)


async def _whole(
    door: Door, engine: AsyncEngine, choices: list[Choice], reply: _Reply
) -> web.Response:
    pieces: list[list[Piece]] = [[] for _ in choices]

    async def collect(piece: Piece) -> None:
        pieces[piece.index].append(piece)

    await _write_all(engine, choices, reply, collect, door.closing)
    answer = reply.json([_joined(each).json() for each in pieces], usage=reply.usage)
    return web.json_response(answer, headers=reply.headers)


async def _write_all(
    engine: AsyncEngine,
    choices: list[Choice],
    reply: _Reply,
    take: Callable[[Piece], Awaitable[None]],
    closing: asyncio.Event,
) -> None:
    """Have all choices written at once; the first that fails ends them all."""

    async def write(choice: Choice) -> None:
        async def take_and_count(piece: Piece) -> None:
            if piece.done is not None:
                reply.summary.count(piece.done, with_prompt=choice.sample == 0)
            await take(piece)

        await write_choice(engine, choice, take_and_count, closing)

    try:
        async with asyncio.TaskGroup() as group:
            for choice in choices:
                group.create_task(write(choice))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _joined(pieces: list[Piece]) -> Piece:
    logprobs = None
    if pieces[-1].logprobs is not None:
        told = [piece.logprobs for piece in pieces if piece.logprobs is not None]
        logprobs = {name: [value for each in told for value in each[name]] for name in told[-1]}
    text = "".join(piece.text for piece in pieces)
    return Piece(pieces[-1].index, text, logprobs, pieces[-1].done)


async def _streamed(
    request: web.Request,
    wanted: CompletionRequest,
    engine: AsyncEngine,
    choices: list[Choice],
    reply: _Reply,
) -> web.StreamResponse:
    door = request.app[door_key]
    events = _EventStream(request, reply.headers, door.options.stall_s)
    with_usage = wanted.stream_options is not None and wanted.stream_options.include_usage
    more = {"usage": None} if with_usage else {}

    async def send(piece: Piece) -> None:
        await events.send(reply.json([piece.json()], **more))

    await events.open()
    try:
        await _write_all(engine, choices, reply, send, door.closing)
        if with_usage:
            await events.send(reply.json([], usage=reply.usage))
        await events.done()
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - translated and logged like everywhere else
        # The status has been sent: what went wrong is told as an event.
        refusal = translate(error)
        reply.summary.error_code = refusal.code
        await events.send(refusal.body)
    await events.response.write_eof()
    return events.response


class _EventStream:
    """Server-sent events to one client, who has to keep reading."""

    def __init__(self, request: web.Request, headers: dict[str, str], stall_s: float) -> None:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", **headers}
        self.response = web.StreamResponse(headers=headers)
        self._request = request
        self._stall_s = stall_s

    async def open(self) -> None:
        await self.response.prepare(self._request)

    async def send(self, data: dict[str, Any]) -> None:
        # ASCII: many clients take U+2028 and its like for the end of a line.
        await self._write(json.dumps(data, separators=(",", ":")))

    async def done(self) -> None:
        await self._write("[DONE]")

    async def _write(self, data: str) -> None:
        """Write one event.

        Raises:
            ConnectionResetError: the client has gone, or does not read.
        """
        try:
            async with asyncio.timeout(self._stall_s):
                await self.response.write(f"data: {data}\n\n".encode())
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            msg = "the client does not read"
            raise ConnectionResetError(msg) from None
