"""Refusals in OpenAI's shape, and requests that no client would send."""

import asyncio
import re
from typing import Any

from tests.engine.http_api.serving import DEADLINE_S, Served

SECRET = "a-token-that-nobody-guesses"


def refusal(answer: Any) -> dict[str, Any]:
    """What a refusal says; its shape must be OpenAI's."""
    assert set(answer) == {"error"}
    error: dict[str, Any] = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return error


async def answer_to(served: Served, *sent: bytes) -> bytes:
    """Send bytes over a socket of its own, and give the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(DEADLINE_S):
        for each in sent:
            writer.write(each)
        answer = await reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"(?i)\r\ncontent-length: (\d+)\r\n", answer)
        answer += await reader.readexactly(int(length))
    writer.close()
    return answer


def head(path: str, length: int, *headers: str) -> bytes:
    kind = "Content-Type: application/json"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", kind, f"Content-Length: {length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()
