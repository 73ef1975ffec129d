"""Owns `/v1/verify`: a text in, what can be said of who wrote it out."""

from typing import Self

from aiohttp import web
from pydantic import model_validator

from engine.http_api.bodies import RequestBody
from engine.http_api.door import door_key, read_body
from wire.jobs import MAX_VERIFY_BYTES


class VerifyRequest(RequestBody):
    """What `/v1/verify` takes. One text: each answer pays for what was tried on it alone."""

    text: str

    @model_validator(mode="after")
    def _is_within_the_bound(self) -> Self:
        num_bytes = len(self.text.encode())
        if num_bytes > MAX_VERIFY_BYTES:
            msg = f"text is {num_bytes} bytes long, at most {MAX_VERIFY_BYTES} are taken"
            raise ValueError(msg)
        return self


async def verify_text(request: web.Request) -> web.Response:
    """Answer `POST /v1/verify`."""
    door = request.app[door_key]
    wanted = await read_body(request, VerifyRequest)
    with door.places.take(1):
        found = await door.verifier.verify(wanted.text)
    answer = found.model_dump(exclude={"kind"}) | {"sentence": found.sentence()}
    return web.json_response({"object": "verification", **answer})
