"""Owns `/v1/models` and `/v1/tokenize`: what is here, and how it cuts a text into tokens."""

import asyncio
from typing import Any

from aiohttp import web

from codec.bpe import Tokenizer
from engine.errors import InvalidRequestError
from engine.http_api.bodies import TokenizeRequest
from engine.http_api.door import door_key, read_body
from engine.http_api.errors import ApiError
from engine.http_api.logprobs import token_text
from engine.loading import canonical_name
from engine.model_pool import ModelPool


def find_name(pool: ModelPool, name: str) -> str:
    """Return the one name of a model that is here. It looks at the disk.

    Raises:
        ApiError: it is not.
    """
    found = canonical_name(name)
    if found not in pool.names():
        msg = f"There is no model {name[:80]!r} here."
        raise ApiError(404, msg, code="model_not_found", param="model")
    return found


async def list_models(request: web.Request) -> web.Response:
    """Answer `GET /v1/models`: the default model first."""
    names = await asyncio.to_thread(request.app[door_key].pool.names)
    return web.json_response({"object": "list", "data": [_model(name) for name in names]})


async def get_model(request: web.Request) -> web.Response:
    """Answer `GET /v1/models/{model}`."""
    pool = request.app[door_key].pool
    name = await asyncio.to_thread(find_name, pool, request.match_info["model"])
    return web.json_response(_model(name))


async def tokenize(request: web.Request) -> web.Response:
    """Answer `POST /v1/tokenize`: text to ids, or ids to text."""
    wanted = await read_body(request, TokenizeRequest)
    async with request.app[door_key].pool.use(wanted.model) as engine:
        answer = await asyncio.to_thread(_tokenized, engine.tokenizer, wanted)
        return web.json_response({"object": "tokenization", "model": engine.model_name, **answer})


def _model(name: str) -> dict[str, Any]:
    # The time is what OpenAI's clients want to find; when a model came to be is not known.
    return {"id": name, "object": "model", "created": 0, "owned_by": "ovid"}


def _tokenized(tokenizer: Tokenizer, wanted: TokenizeRequest) -> dict[str, Any]:
    try:
        ids = tokenizer.encode(wanted.text) if wanted.ids is None else list(wanted.ids)  # type: ignore[arg-type]
        tokens = [token_text(tokenizer, token_id) for token_id in ids]
    except ValueError as error:
        raise InvalidRequestError(f"{error}.") from error
    text = tokenizer.decode(ids) if wanted.text is None else wanted.text
    return {"text": text, "ids": ids, "tokens": tokens, "count": len(ids)}
