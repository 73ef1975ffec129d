"""Completions as OpenAI's client gets them, and the ids of their tokens."""

from typing import Any

from openai.types import Completion, CompletionChoice

from tests.engine.http_api.serving import Served


def ids_of(choice: CompletionChoice) -> list[int]:
    """The ids of a choice's tokens, which are bytes."""
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    return [
        int(token[-2:], 16) if token.startswith("bytes:") else ord(token)
        for token in choice.logprobs.tokens
    ]


async def complete(served: Served, **fields: Any) -> Completion:
    completion = await served.openai.completions.create(**{"model": "tiny", **fields})
    assert isinstance(completion, Completion)
    return completion


async def stream(served: Served, **fields: Any) -> list[Completion]:
    chunks = await served.openai.completions.create(model="tiny", stream=True, **fields)
    return [chunk async for chunk in chunks]
